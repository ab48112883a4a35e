"""The engine: one pure, public object per process that decides everything a driver would have to.

It batches, groups several steps of a key in one write, resolves conflicts and unknown outcomes, claims
due runs, renews leases, keeps limits, and shuts down in two phases. It performs nothing: a *driver* feeds
it inputs and performs its needs. A driver is a queue, one thread a lane, and this loop:

    engine = Engine(jobs.by_key, node=secrets.randbits(64), lanes=backend.lanes, lane=backend.lane)
    while True:
        for need in engine.needs():
            match need:
                case Exchange():  # in the thread of its lane; then put Answered(id, answer or exception)
                    lanes[need.lane].put(need)
                case Invoke():    # call it your way; then put Finished(id, HookReturned(value) or ...)
                    start(need)
                case Cancel():    # cancel it; its Finished follows
                    cancel(need.invocation)
                case Reply():     # answer the caller with result, or raise error
                    callers.pop(need.call).answer(need)
                case Emit():      # give the values to your trackers
                    track(need.events)
                case Closed():
                    return
        wakeup = engine.next_wakeup
        try:
            input = inputs.get(timeout=None if wakeup is None else max(0, wakeup - clock()) / 1000)
        except queue.Empty:
            input = Ticked()
        engine.feed(clock(), input)

The contract, whole:

 1. *Turn.* One thread at a time, never re-entrantly: feed inputs, perform all `needs()`, sleep until an
    input or `next_wakeup`, then feed `Ticked`. Early, late or spurious `Ticked` and `Nudged` change nothing.
 2. *Time.* `t`, in whole milliseconds of a monotonic clock, never goes back. The engine derives the instant
    from `t` and the answers' `clock`; it reads no clock. A hint lost costs one poll.
 3. *Exchange.* Every `Exchange` gets exactly one `Answered`, whatever is cancelled meanwhile; what the driver
    cannot tell is an exception, hence an unknown outcome. At most one is outstanding a lane.
 4. *Hooks.* Every `Invoke` gets exactly one `Finished`. The driver enforces `timeout_ms` by cancelling. What
    can be cancelled is finished when it has truly ended, also after `Cancel`. A thread is finished at its
    timeout, or at or soon after `Cancel`, with `HookDetached`; `Returned` follows when it returns.
 5. *Callers.* Every `Called` gets exactly one `Reply`, unless `Abandoned` came first. Abandoning drops the
    wait, never the commit. A `deadline` ends in nothing-happened or `OutcomeUnknownError`, whichever is true.
 6. *After the commit.* No `Reply` (errors and reads included), leased `Invoke` or `Emit` is given before the
    write it rests on is committed. For one key they come in the order of the commits.
 7. *Independence.* Needs may be performed concurrently; none waits for another of the same drain.
 8. *One hand.* A key has at most one write in flight, at most one inline hook, and at most one leased hook
    of this engine whose `Finished` is missing.
 9. *Pure.* Equal construction and equal feeds give equal needs. `node` is the only entropy.
10. *Bounded.* Memory follows queued requests, live runs and the cache limit, never stored instances.
11. *Stopping.* After `Stopping` no claim, start or new request. Handlers have their grace, which another
    `Stopping` may shorten, then `Cancel`, and no hook begins any more; the leases of the ended ones are
    released; `Closed` comes last, when every exchange is answered and every `Finished` is in; detached
    threads do not hold it up. Dropping the engine instead is a crash, and safe.
12. *Faults.* `feed` raises only `DriverError` (unknown id, second answer, `t` going back, what is no such
    input), and then nothing has changed. No behaviour of users, hooks or backends makes it raise. The
    values inside a key and a request are not looked at: give those that a client makes, checked at its edge.
13. *Listing.* `Backend.scan` is called by the driver; whole-job operations are pages of it plus one request
    an instance.

Inside: `State` is all it knows, of which `calls`, `handlers`, `slots`, `cache` and `clock` are parts;
`Keeper` is the work on one key, `settling` what became of its lost writes; `lane` is what a backend lane is
asked, `lookout` when it is asked for due work. `faults` is what is refused; `callers`, `hooks` and
`exchanges` are what happens on each sort of input, and the `turn` that follows steps every key that is ready.
"""

from durable_jobs_core.engine._engine import Engine
from durable_jobs_core.engine.protocol import (
    Abandoned,
    Answered,
    Attempt,
    Called,
    Cancel,
    Closed,
    Emit,
    Exchange,
    Finished,
    HookCancelled,
    HookDetached,
    HookOutcome,
    HookRaised,
    HookReturned,
    HookTimedOut,
    Input,
    Invoke,
    Limits,
    Need,
    Nudged,
    Reply,
    Returned,
    Stopping,
    Ticked,
    Trouble,
)

__all__ = [
    "Abandoned",
    "Answered",
    "Attempt",
    "Called",
    "Cancel",
    "Closed",
    "Emit",
    "Engine",
    "Exchange",
    "Finished",
    "HookCancelled",
    "HookDetached",
    "HookOutcome",
    "HookRaised",
    "HookReturned",
    "HookTimedOut",
    "Input",
    "Invoke",
    "Limits",
    "Need",
    "Nudged",
    "Reply",
    "Returned",
    "Stopping",
    "Ticked",
    "Trouble",
]
