"""The observer: checks I-1 to I-9 from what goes into the engines, what comes out, and the store.

It keeps facts, not states: what was committed, who was called, who was answered what. It knows no engine
from inside, and none of the core's rules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from durable_jobs_core import events, results
from durable_jobs_core.backend import Damaged, Row, Write
from durable_jobs_core.codec import decode
from durable_jobs_core.engine import HookDetached, HookOutcome, Invoke, Reply
from durable_jobs_core.errors import OutcomeUnknownError
from durable_jobs_core.record import DebounceBody, Record, TaskBody
from durable_jobs_core.telemetry import TelemetryEvent
from durable_jobs_core.words import Key
from durable_jobs_simulation import answers, checks, leases, telling
from durable_jobs_simulation.history import Attempt, Call, Commit, History
from durable_jobs_simulation.tasks import Ask
from durable_jobs_simulation.violation import Violated
from durable_jobs_simulation.watched import Peer, Watched

HOLD_MAX_MS = 60_000
CLOCKS_APART_MS = 10_000
"""How far an engine's clock may go ahead of the store's before it hears from it again, under `drift`."""


class Observer:
    """Told of everything, asked nothing. Raises `Violated`."""

    def __init__(self, world: Watched) -> None:
        self._world = world
        self.histories: dict[Key, History] = {}
        self.watchers: list[Callable[[Commit], None]] = []
        self.counts: Counter[str] = Counter()
        self.latest: Key | None = None
        """Of what the last commit was."""
        self._engines: dict[int, str] = {}
        self._calls: dict[tuple[str, int], Call] = {}
        self._running: dict[tuple[int, int], Attempt | None] = {}
        self._busy: Counter[tuple[int, Key, bool]] = Counter()

    def history(self, key: Key) -> History:
        """What is known of a key."""
        history = self.histories.get(key)
        if history is None:
            history = self.histories[key] = History(key)
        return history

    def stored(self, key: Key) -> Record | None:
        """What was last known to be stored under a key."""
        history = self.histories.get(key)
        return None if history is None else history.record

    def started(self, node: Peer) -> None:
        """A node has a new engine."""
        self._engines[node.engine_id] = node.name

    # -- the store

    def committed(self, engine: int, write: Write, before: Row | Damaged | None) -> None:
        """A write has taken effect."""
        key, world = write.key, self._world
        history, node = self.history(key), self._engines[engine]
        self.latest = key
        after = self._decoded(write.row)
        was = history.record
        world.say("store", "commit", node, checks.Told(after, world.now), key=key, change=(was, after))
        self.counts["commits"] += 1
        history.commits += 1
        history.written[engine] = history.commits
        if isinstance(before, Damaged):
            history.rotten = False
        try:
            self._check_life(history, was, after)
            self._check_lease(history, engine, was, after)
            self._note_ids(history, engine, was, after)
            if after is not None:
                assert write.row is not None, "there is a record"
                checks.check_alarm(after, write.row.wake)
                if was is not None and not checks.ends(was, after):
                    self._check_same_life(history, engine, was, after)
                history.seq[after.revision.life] = after.seq
        except Violated as violated:
            raise Violated(violated.invariant, f"{key}, committed by {node}: {violated.why}") from None
        history.record = after
        history.records.append(after)
        if self.watchers:
            commit = Commit(key, node, was, after)
            for watcher in self.watchers:
                watcher(commit)

    def _decoded(self, row: Row | None) -> Record | None:
        if row is None:
            return None
        record = decode(row)
        if not isinstance(record, Record):
            raise Violated("codec", f"what was written for {row.key} cannot be read")
        return record

    def replaced(self, key: Key, record: Record | None, *, lost: bool = False) -> None:
        """The simulation has put something else there, which cannot be read if `None`; `lost`: for good."""
        history = self.history(key)
        history.rotten, history.replaced = record is None, True
        history.damaged = history.damaged or lost
        if record is not None:
            history.record = record

    def indexed(self, key: Key) -> None:
        """I-4: the entry of a row is never later than its alarm but for a hold."""
        store, now = self._world.store, self._world.now
        row, entry = store.rows.get(key), store.entries.get(key)
        if self.history(key).rotten or not isinstance(row, Row) or row.wake is None:
            return
        slack = CLOCKS_APART_MS if self._world.faults.drift else 0
        if entry is None or entry > max(row.wake, now + HOLD_MAX_MS + slack):
            raise Violated("I-4", f"{key} wants to be woken at {row.wake} and is filed under {entry}")

    def _check_life(self, history: History, before: Record | None, after: Record | None) -> None:
        if after is not None and after.revision.life in history.ended:
            raise Violated("I-5", "something of a life that had ended was written")
        if before is not None and checks.ends(before, after):
            history.ended.add(before.revision.life)

    def _check_same_life(self, history: History, engine: int, before: Record, after: Record) -> None:
        checks.check_counts(before, after)
        if isinstance(before.body, DebounceBody) and isinstance(after.body, DebounceBody):
            checks.check_window(before.body, after.body)
            return
        if isinstance(before.body, TaskBody) and isinstance(after.body, TaskBody):
            checks.check_inbox(before.body, after.body)
        was, is_ = checks.state_of(before.body), checks.state_of(after.body)
        if was is None or is_ is None or was == is_ or was.version != is_.version:
            return
        run = checks.leased(before)
        if run is None or run.lease is None:
            if isinstance(before.body, TaskBody):
                return
            raise Violated("I-3", "the state changed while no attempt was in flight")
        attempt = history.tokens.get(run.lease.token)
        now = checks.leased(after)
        if now is not None and now.lease is not None and now.lease.token == run.lease.token:
            raise Violated("I-3", "the state changed during an attempt")
        if isinstance(before.body, TaskBody) and after.at >= run.lease.until:
            return  # the lease was over, and an event came between attempts
        if attempt is None or attempt.token.engine != engine or not attempt.over:
            raise Violated("I-3", "the state was changed by one that did not hold the lease")
        if isinstance(attempt.outcome, HookDetached):
            raise Violated("S-15", "a hook that was left behind changed the state")

    # -- leases

    def _check_lease(
        self, history: History, engine: int, before: Record | None, after: Record | None
    ) -> None:
        was, is_ = checks.leased(before), checks.leased(after)
        old = None if was is None else was.lease
        new = None if is_ is None else is_.lease
        if old is not None and new is not None and old.token == new.token:
            if new.until < old.until or (new.until > old.until and engine != old.token.engine):
                raise Violated("I-3", "a lease was renewed by another, or shortened")
            history.tokens[old.token].until = new.until
            return
        if old is not None and before is not None:
            self._check_end(history, engine, history.tokens.get(old.token), old.until, before, after)
        if new is None or is_ is None or after is None:
            return
        if new.token in history.tokens:
            raise Violated("S-12", "a token was used again")
        if (new.token.number, new.token.engine) != (after.revision.number, after.revision.engine):
            raise Violated("S-12", "a token is not the revision that took it")
        attempt = Attempt(
            token=new.token,
            life=after.revision.life,
            run=is_.number,
            hook=is_.hook,
            attempt=is_.attempt,
            crashes=is_.crashes,
            until=new.until,
            state=checks.state_of(after.body),
        )
        leases.check_attempt(self._world, history, attempt, after)
        leases.check_early(self._world, attempt, is_, before)
        if leases.of_paused(is_, before, after) and not self._resumes(engine, history.key):
            raise Violated("S-35", f"run {is_.number} attempt {is_.attempt} of a paused instance began")
        history.tokens[new.token] = history.latest = attempt
        history.granted = [other for other in history.granted if other.token.engine != engine]
        history.granted.append(attempt)
        self.counts["attempts"] += 1

    def _check_end(
        self,
        history: History,
        engine: int,
        attempt: Attempt | None,
        until: int,
        before: Record,
        after: Record | None,
    ) -> None:
        """A token ends: by its holder with the outcome, by time, or by `terminate`."""
        if attempt is None:
            return  # of a record that the simulation has written
        if engine == attempt.token.engine and attempt.over:
            if after is not None and after.revision.life == attempt.life:
                leases.check_counted(attempt, after)
            return
        at = self._world.now + 1_000 if after is None else after.at
        if at >= until or (after is None and engine in history.terminators):
            return
        if history.terminators and checks.ends(before, after):
            return
        raise Violated("I-3", f"the lease of run {attempt.run} was ended by one that did not hold it")

    # -- hooks

    def invoked(self, node: Peer, need: Invoke) -> None:
        """I-7, S-10: a leased hook follows its own commit, and no other hook of its key runs here."""
        history, call = self.history(need.key), need.ctx._call
        self._world.say(node.name, "invoke", *answers.told(call, need.leased), key=need.key)
        self._busy[node.engine_id, need.key, need.leased] += 1
        if self._busy[node.engine_id, need.key, need.leased] > 1:
            raise Violated("engine", f"{need.key}: two hooks at a time in {node.name}")
        if not need.leased:
            self._running[node.engine_id, need.id] = None
            return
        facts = (call.life, call.run, call.hook, call.attempt, call.crashes)
        attempt = next((one for one in history.granted if one.token.engine == node.engine_id), None)
        if attempt is None or attempt.facts != facts:
            raise Violated("I-7", f"{need.key}: {call.hook} was called without a lease for it")
        if attempt.state != call.state and not leases.mixed(self._world):
            raise Violated("I-7", f"{need.key}: {call.hook} was shown a state that was not committed")
        attempt.invoked = True
        history.granted.remove(attempt)
        self._running[node.engine_id, need.id] = attempt

    def finished(self, node: Peer, invoke: Invoke, outcome: HookOutcome, injected: str = "") -> None:
        """A hook has ended, or is left behind; `injected`: what is told of a failure that is a fault's."""
        attempt = self._running.pop((node.engine_id, invoke.id))
        self._busy[node.engine_id, invoke.key, invoke.leased] -= 1
        if attempt is not None:
            attempt.outcome = outcome
            attempt.stopping = node.stopping
        what, *more = answers.ended(outcome, injected)
        failed = what != "returned"
        self._world.say(node.name, what, invoke.hook, *more, key=invoke.key, fault=failed)

    def hook_gone(self, node: Peer, hook: int) -> None:
        """A hook has died with its node."""
        self._running.pop((node.engine_id, hook), None)

    # -- callers

    def called(self, node: Peer, number: int, ask: Ask) -> None:
        """A request has reached a node."""
        history = self.history(ask.key)
        self._world.say(node.name, "call", number, answers.request(ask.request), key=ask.key)
        self._calls[node.name, number] = Call(
            ask.key,
            ask.request,
            node.engine_id,
            history.commits,
            None if history.record is None else history.record.revision.life,
            self._must_answer_by(ask),
        )
        id = getattr(ask.request, "event_id", None)
        if id is not None:
            history.asked[id] += 1
        if isinstance(ask.request, events.TerminateRequested):
            history.terminators.add(node.engine_id)

    def _resumes(self, engine: int, key: Key) -> bool:
        """Whether an engine may have resumed an instance between two commits."""
        return engine in self.history(key).resumers or any(
            call.key == key and call.engine == engine and isinstance(call.request, events.ResumeRequested)
            for call in self._calls.values()
        )

    def _must_answer_by(self, ask: Ask) -> int | None:
        """Engine, 5: by the deadline, and then by the end of the wait; as far as clocks go right."""
        rates = self._world.faults
        if rates.stall or rates.drift:
            return None
        return self._world.now + ask.timeout_ms + (ask.wait_ms or 0) + 20

    def replied(self, node: Peer, reply: Reply) -> None:
        """I-7: an acknowledgement follows its commit. I-9: a refused request leaves nothing."""
        call = self._calls.pop((node.name, reply.call), None)
        if call is None:
            raise Violated("engine", f"call {reply.call} was answered twice")
        said = type(reply.result if reply.error is None else reply.error).__name__
        outcome = getattr(reply.result, "outcome", None)
        details = (reply.call, said, *([outcome] if outcome else []))
        self._world.say(node.name, "reply", *details, key=call.key, fault=reply.error is not None)
        self.counts["replies"] += 1
        history = self.history(call.key)
        if call.by is not None and self._world.now > call.by:
            raise Violated("S-3", f"{call.key}: a caller was answered {self._world.now - call.by} ms late")
        id = getattr(call.request, "event_id", None)
        unknown = isinstance(reply.error, OutcomeUnknownError)
        if unknown and isinstance(call.request, events.ResumeRequested):
            history.resumers.add(call.engine)
        if reply.error is not None:
            if id is not None and not unknown:
                history.rejected[id] += 1
                self._check_ids(history, id)
            return
        self._check_read(history, call, reply.result)
        self._check_outcome(history, call, outcome)
        self._check_terminated(history, call, reply.result)
        if answers.wrote(reply.result) and history.written.get(call.engine, 0) <= call.commits:
            raise Violated("I-7", f"{call.key}: {said} was given and nothing was committed")
        if id is not None and not call.excused and not getattr(reply.result, "terminated", False):
            history.acked[id] += 1
            self._check_ids(history, id)

    def _check_read(self, history: History, call: Call, result: Any) -> None:
        """S-3: a read shows what was stored at some instant between its call and its answer (D-7)."""
        if history.replaced or not isinstance(result, answers.READS):
            return
        if history.written.get(call.engine, 0) > call.commits:
            return  # it may show a step between two commits, which were written as one
        shown = answers.view(result)
        stored = [answers.stored(record, result) for record in history.records[call.commits :]]
        if shown not in stored:
            raise Violated("S-3", f"{call.key}: {shown} was read; it was {stored[0]}, and then {stored[1:]}")

    def _check_outcome(self, history: History, call: Call, outcome: str | None) -> None:
        """S-38: who waited is told how an attempt ended that ended since."""
        if outcome not in ("succeeded", "retrying", "failed", "parked") or history.replaced:
            return
        since = history.records[call.commits + 1 :]
        if not any(answers.ended_as(record, outcome) for record in since if record is not None):
            raise Violated("S-38", f"{call.key}: {outcome} was told, and no attempt has ended so")

    def _check_terminated(self, history: History, call: Call, result: Any) -> None:
        """I-5. Who ended the life is not known: another may have been first (D-6, d)."""
        if isinstance(result, results.TerminateResult) and result.terminated and history.record is not None:
            if history.record.revision.life == call.life:
                raise Violated("I-5", f"{call.key}: it was terminated, and lives on")

    def _check_ids(self, history: History, id: str) -> None:
        key, seen, possible = history.key, history.seen[id], history.asked[id] - history.rejected[id]
        if seen < history.acked[id]:
            raise Violated("I-1", f"{key}: event {id!r} was acknowledged and is nowhere")
        if seen > possible:
            raise Violated("I-9", f"{key}: event {id!r} was refused and is there")

    def _note_ids(self, history: History, engine: int, before: Record | None, after: Record | None) -> None:
        key, life_ends = history.key, before is not None and checks.ends(before, after)
        was, is_ = getattr(before and before.body, "ids", ()), getattr(after and after.body, "ids", ())
        most = getattr(self._world.releases[-1].by_key.get((key.kind, key.job)), "ids_max", 0)
        if life_ends or (is_ and len(is_) >= most and is_[0] not in was):  # all are new, and some may be gone
            for call in self._calls.values():
                if call.key == key and call.engine == engine:
                    call.excused = True
        if was == is_:
            return
        known = dict(was)
        for id, until in is_:
            if until != known.get(id):
                if after is not None and known.get(id, 0) > after.at:
                    raise Violated("S-60", f"the remembered {id!r} was taken again")
                history.seen[id] += 1
                self._check_ids(history, id)

    # -- telemetry

    def emitted(self, node: Peer, values: tuple[TelemetryEvent, ...]) -> None:
        """I-7: telemetry follows its commit, and is said once."""
        over = {value.life for value in values if value.type == "job.terminated"}  # and maybe never stored
        for value in values:
            self._world.say(node.name, "emit", *answers.emitted(value), key=value.key)
            telling.check_told(self.history(value.key), value, node.name, over)

    # -- at the end

    def overdue(self) -> list[Key]:
        """The instances that want to be woken by now, damaged ones apart."""
        return [
            row.key
            for row in self._world.store.rows.values()
            if isinstance(row, Row) and row.wake is not None and row.wake <= self._world.now
        ]

    def check_no_crash(self) -> None:
        """S-14: without faults no lease is lost."""
        for key, history in self.histories.items():
            if any(attempt.crashes for attempt in history.tokens.values()):
                raise Violated("S-14", f"{key}: an attempt crashed, and nothing had happened to it")
