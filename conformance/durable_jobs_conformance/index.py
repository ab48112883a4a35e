"""R-6 to R-8: the index, claims and time."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from durable_jobs_conformance.check import check
from durable_jobs_conformance.clocks import clock_set_back
from durable_jobs_conformance.port import DONE, Port
from durable_jobs_core.backend import Claim, Conflicted, Defer, Row, Write

JOBS = 500
MANY = 400

# -- the index entry


@check("R-6")
def a_commit_sets_the_entry_also_when_the_alarm_is_the_same(port: Port) -> None:
    port.create("a", wake=10)
    port.same(port.claim(10), ["a"])
    port.same(port.claim(10), [])
    port.ask(Write(port.key("a"), b"r0", port.row("a", b"r1", wake=10)))
    port.same(port.claim(10), ["a"])


@check("R-6")
def a_commit_without_an_alarm_takes_the_entry_away(port: Port) -> None:
    port.create("a", wake=10)
    port.ask(Write(port.key("a"), b"r0", port.row("a", b"r1", wake=None)))
    port.same(port.claim(99), [])
    port.same(port.next_wake(), None)


@check("R-6")
def a_load_leaves_the_entry_where_a_commit_has_set_it(port: Port) -> None:
    """What a claim or a Defer had set before is not put back."""
    (claimed,) = port.create("a", wake=10)
    port.same(port.claim(10, until=500), ["a"])
    (deferred,) = port.create("b", wake=10)
    port.ask(Defer(deferred.key, b"r0", 900))
    port.ask(*(Write(row.key, b"r0", port.row(row.key.id, b"r1", wake=20)) for row in (claimed, deferred)))
    for id in "ab":
        port.load(id)
    port.same(sorted(port.claim(20)), ["a", "b"])


@check("R-6")
def claim_and_defer_leave_row_and_revision(port: Port) -> None:
    (row,) = port.create("a", wake=10)
    port.claim(10)
    port.same(port.load("a"), row)
    port.same(port.ask(Defer(row.key, b"r0", 77)).outcomes, (DONE,))
    port.same(port.load("a"), row)
    port.same(port.next_wake(), 77)


@check("R-6")
def defer_moves_the_entry_either_way(port: Port) -> None:
    (row,) = port.create("a", wake=10)
    port.ask(Defer(row.key, b"r0", 50))
    port.same(port.claim(49), [])
    port.ask(Defer(row.key, b"r0", 5))
    port.same(port.claim(5), ["a"])


@check("R-6")
def defer_needs_the_revision(port: Port) -> None:
    (row,) = port.create("a", wake=10)
    port.same(port.ask(Defer(row.key, b"r1", 50)).outcomes, (Conflicted(row),))
    port.same(port.claim(10), ["a"])


@check("R-6")
def a_load_puts_back_an_entry_that_is_missing(port: Port) -> None:
    (row,) = port.create("a", wake=10)
    port.ask(Defer(row.key, b"r0", None))
    port.same(port.claim(99), [])
    port.same(port.load("a"), row)
    port.same(port.claim(10), ["a"])


@check("R-6")
def a_load_does_not_end_a_hold(port: Port) -> None:
    (row,) = port.create("a", wake=10)
    port.same(port.claim(10, until=500), ["a"])
    port.load("a")
    port.same(port.claim(499), [])
    port.same(port.claim(500), ["a"])
    port.ask(Defer(row.key, b"r0", 900))
    (unclaimed,) = port.create("b", wake=10)
    port.ask(Defer(unclaimed.key, b"r0", 900))
    for id in "ab":
        port.load(id)
    port.same(port.claim(899), [])


@check("R-6")
def a_handle_that_is_opened_does_not_end_a_hold(port: Port) -> None:
    port.create("a", wake=10)
    port.same(port.claim(10, until=500), ["a"])
    other = port.again()
    port.same(other.claim(499), [])
    port.same(other.claim(500), ["a"])


@check("R-6")
def a_load_makes_no_entry_for_a_row_without_an_alarm(port: Port) -> None:
    port.create("a", wake=None)
    port.load("a")
    port.same(port.next_wake(), None)


# -- claims


@check("R-7")
def what_is_due_comes_earliest_first(port: Port) -> None:
    instants = random.Random(0).sample(range(90, 114), 24)  # in no order that lanes, or texts, could have too
    wakes = {f"{n:02}": wake for n, wake in enumerate(instants)}
    rows = [port.row(id, wake=wake) for id, wake in wakes.items()]
    port.ask(*(Write(row.key, None, row) for row in rows))
    due = port.by_lane(
        map(port.key, sorted((id for id, wake in wakes.items() if wake <= 110), key=wakes.__getitem__))
    )
    for limit, of in (2, slice(2)), (50, slice(2, None)):
        claimed = port.by_lane(map(port.key, port.claim(110, limit=limit)))
        port.same(claimed, [keys[of] for keys in due], f"at most {limit} of each lane")


@check("R-7")
def an_entry_is_due_at_its_instant_and_not_before(port: Port) -> None:
    port.create("a", wake=10)
    port.same(port.claim(9), [])
    port.same(port.claim(10), ["a"])


@check("R-7")
def limits_are_per_job(port: Port) -> None:
    jobs: list[Any] = [("task", "mail"), ("task", "post"), ("debounce", "mail")]
    jobs += [("task", other) for other in ("other", "mailing", "Mail", "mai")]
    keys = [port.key(f"{n}", job=job, kind=kind) for n in range(4) for kind, job in jobs]
    keys.sort()
    port.ask(*(Write(key, None, Row(key, b"r0", int(key.id), "idle", b"")) for key in keys))
    limits: dict[Any, int] = {
        ("task", "mail"): 2,
        ("debounce", "mail"): 3,
        ("task", "post"): 1,
        ("task", "none"): 5,
    }
    claimed = port.ask(claim=Claim(limits, 99, 999)).claimed
    for job, limit in limits.items():
        due = port.by_lane(key for key in keys if key[:2] == job)
        got = port.by_lane(row.key for row in claimed if row.key[:2] == job)
        port.same(got, [mine[:limit] for mine in due])
    port.same([row.key for row in claimed if row.key[:2] not in limits], [])


@check("R-7")
def a_claim_takes_as_many_as_its_limit(port: Port) -> None:
    ids = [f"{n:03}" for n in range(MANY)]
    port.create(*ids, wake=10)
    port.same(sorted(port.claim(10, limit=MANY)), ids)


@check("R-7")
def a_claim_names_any_number_of_jobs(port: Port) -> None:
    jobs: list[Any] = [("task", f"job{n:03}") for n in range(JOBS)]
    keys = [port.key("a", job=job) for _, job in jobs[::50] + jobs[-1:]]
    port.ask(*(Write(key, None, Row(key, b"r0", n, "idle", b"")) for n, key in enumerate(keys)))
    answer = port.ask(claim=Claim(dict.fromkeys(jobs, 1), 99, 999))
    port.same(sorted(row.key for row in answer.claimed), keys, f"due, of a claim of {JOBS} jobs")
    port.same(answer.next_wake, 999)


@check("R-7")
def a_claimed_row_comes_again_when_its_hold_ends(port: Port) -> None:
    port.create("a", wake=10)
    port.same(port.claim(10, until=50), ["a"])
    port.same(port.claim(49), [])
    port.same(port.claim(50), ["a"])


@check("R-7")
def at_least_one_row_and_no_more_bytes_than_asked_for(port: Port) -> None:
    rows = port.create(*"abcde", wake=10, blob=b"x" * 100)
    left = [len(keys) for keys in port.by_lane(row.key for row in rows)]
    for max_bytes, most in (1, 1), (200, 2), (199, 1):
        claimed = port.by_lane(map(port.key, port.claim(10, max_bytes=max_bytes)))
        why = f"how many rows of 100 bytes each lane gives to a claim of {max_bytes} bytes"
        port.same([len(keys) for keys in claimed], [min(count, most) for count in left], why)
        left = [count - len(keys) for count, keys in zip(left, claimed, strict=True)]


@check("R-7")
def a_row_of_no_bytes_is_a_row(port: Port) -> None:
    empty, full = port.row("a", wake=1, blob=b""), port.row("b", wake=2, blob=b"x" * 100)
    port.ask(*(Write(row.key, None, row) for row in (empty, full)))
    is_one_lane = port.backend.lane(empty.key) == port.backend.lane(full.key)
    port.same(sorted(port.claim(10, max_bytes=50)), ["a"] if is_one_lane else ["a", "b"])


@check("R-7")
def two_claims_never_return_the_same_entry(port: Port) -> None:
    ids = [f"{n:03}" for n in range(200)]
    port.create(*ids, wake=10)
    handles = [port.again() for _ in range(4)]

    def work(handle: Port) -> list[str]:
        taken: list[str] = []
        for _ in ids:  # one that moves no entry would never end
            claimed = handle.claim(10, limit=7)
            if not claimed:
                break
            taken += claimed
        return taken

    with ThreadPoolExecutor() as threads:
        taken = [id for ids in threads.map(work, handles) for id in ids]
    port.same(sorted(taken), ids)


# -- time


@check("R-8")
def next_wake_is_the_earliest_of_the_jobs_named_after_the_claim(port: Port) -> None:
    rows = [port.row("a", wake=10), port.row("b", wake=60), port.row("c", wake=5, job="post")]
    rows.append(port.row("d", wake=1, job="mailing"))
    port.ask(*(Write(row.key, None, row) for row in rows))
    port.same(port.next_wake(), 10)
    port.same(port.next_wake(("task", "post")), 5)
    port.same(port.next_wake(("task", "mail"), ("task", "post")), 5)
    port.same(port.next_wake(("task", "none")), None)
    port.same(port.ask(claim=Claim({port.JOB: 9}, 10, 40)).next_wake, 40)
    port.same(port.ask(claim=Claim({port.JOB: 9}, 40, 80)).next_wake, 60)


@check("R-8")
def next_wake_is_of_what_is_due_and_was_not_taken_too(port: Port) -> None:
    """Of what the limit or the bytes left there: or nobody comes back for it."""
    ids = [f"{n:02}" for n in range(30)]
    port.create(*ids, wake=10, blob=b"x" * 100)
    for claim in Claim({port.JOB: 1}, 15, 900), Claim({port.JOB: 9}, 15, 900, 1):
        port.same(port.ask(claim=claim).next_wake, 10)


@check("R-8")
def next_wake_is_told_to_claims_only(port: Port) -> None:
    port.create("a", wake=10)
    port.same(port.ask(loads=(port.key("a"),)).next_wake, None)


@check("R-8")
def the_clock_goes_on(port: Port) -> None:
    before = port.ask().clock
    time.sleep(0.05)
    clock = port.ask().clock
    port.holds(clock > before, f"a clock later than {before}, 50 ms later", clock)


@check("R-8")
def the_clock_is_the_wall_clock_and_never_goes_back(port: Port) -> None:
    handles = [port, port.again(), port.again()]
    before = 0
    for n in range(60):
        clock = handles[n % 3].ask(*([Write(port.key(f"{n}"), None, port.row(f"{n}"))] * (n % 2))).clock
        port.holds(clock >= before, f"a clock of at least {before}", clock)
        before = clock
    wall = time.time() * 1000
    port.holds(abs(before - wall) < 2_000, f"about the wall clock, {wall:.0f}", before)


@check("R-8")
def the_clock_does_not_go_back_with_that_of_the_machine(port: Port) -> None:
    """Somebody sets it: the handles there are, and those opened later, go on from where the store was."""
    other, before = port.again(), port.ask().clock
    with clock_set_back():
        for handle in (port, other, port.again()):
            clock = handle.ask().clock
            port.holds(clock >= before, f"at least {before}", clock, "`time.time()` was set back by an hour")
