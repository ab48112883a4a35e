"""Random histories of a task: the real step beside the model of SPEC §7."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule, run_state_machine_as_test
from support.machines import SETTINGS, Machine
from support.model_task import Answer, TaskModel
from support.steps import SECOND, Bench, T, asked, raises, returns, task

from durable_jobs_core.operations import Operations
from durable_jobs_core.retry import Retry
from durable_jobs_core.words import maybe_datetime

DELAY, IDS_FOR = 5 * SECOND, 20 * SECOND
ASKED = st.sampled_from(
    [
        asked(),
        asked("x"),
        asked("y", after=5 * SECOND),
        asked(after=0),
        asked(at=T),
        asked(cancel=True),
        asked(terminate="done"),
    ]
)
ANSWERS = st.one_of(ASKED, ASKED, st.none())
QUIET = st.one_of(st.just(asked()), ANSWERS)


class TaskMachine(Machine):
    """Send, trigger, redrive, discard, and whatever becomes of events and runs."""

    model: TaskModel

    @initialize(
        hooks=st.frozensets(st.sampled_from(["on_idle", "on_error"])),
        policy=st.sampled_from(["park", "continue", "terminate"]),
        attempts=st.sampled_from([1, 2]),
        limit=st.sampled_from([1, 3]),
    )
    def define(self, hooks: frozenset[str], policy: str, attempts: int, limit: int) -> None:
        """A definition, and the model with the same numbers."""
        job = task(
            *sorted(hooks),
            retry=Retry(max_attempts=attempts, delay="5 seconds", jitter=0),
            on_exhausted=policy,
            inbox_limit=limit,
            max_crashes=2,
            remember_ids=2,
            remember_ids_for="20 seconds",
        )
        self.bench = Bench(job)
        self.model = TaskModel(
            hooks=hooks,
            attempts=attempts,
            delay=DELAY,
            max_crashes=2,
            policy=policy,
            limit=limit,
            ids_max=2,
            ids_for=IDS_FOR,
        )
        self.events = 0

    @rule(id=st.sampled_from([None, None, "a", "b", "c"]), on_event=ANSWERS, on_error=ANSWERS, on_idle=QUIET)
    def send(self, id: str | None, on_event: Answer, on_error: Answer, on_idle: Answer) -> None:
        """S-50, S-51, S-60."""
        self.events += 1
        event = f"event {self.events}"
        answers = {"on_event": on_event, "on_error": on_error, "on_idle": on_idle}
        for hook, answer in answers.items():
            self.bench.inline[hook] = raises(ValueError("no")) if answer is None else returns(answer)
        expected, reply = self.both(
            lambda: self.model.send(self.now, event, id, on_event, on_error, on_idle),
            lambda: self.bench.send(event, id),
        )
        if reply is not None:
            created, queued, scheduled, terminated = expected
            assert (reply.created, reply.queued, reply.terminated) == (created, queued, terminated)
            assert reply.scheduled_at == maybe_datetime(scheduled)
            self.follow()

    @rule()
    def trigger(self) -> None:
        """S-53."""
        triggered, joined = self.model.trigger(self.now)
        reply = self.bench.trigger()
        assert (reply.triggered, reply.joined) == (triggered, joined)
        assert not (joined and self.bench.transition.commit), "joined: nothing is written"
        if triggered and not joined:
            self.follow()

    @rule()
    def redrive(self) -> None:
        """S-51."""
        moved, reply = self.both(self.model.redrive, self.bench.redrive)
        if reply is not None:
            assert reply.redriven == moved
            if moved:
                self.follow()

    @rule()
    def discard(self) -> None:
        """S-51."""
        dropped, reply = self.both(self.model.discard, self.bench.discard)
        if reply is not None:
            assert reply.discarded == dropped
            if dropped:
                self.follow()

    @precondition(lambda self: self.model.flies)
    @rule(operations=ASKED)
    def succeed(self, operations: Operations) -> None:
        """The hook in flight returns."""
        self.model.succeed(self.now, operations)
        self.bench.succeed(operations)
        self.follow()

    def compare_call(self) -> None:
        model, call, piece = self.model, self.bench.call, self.model.in_flight
        assert piece is not None
        assert (call.hook, call.attempt, call.crashes) == (piece.hook, piece.attempt, piece.crashes)
        assert call.attempt <= model.attempts, "I-6"
        takes_event = piece is model.intake
        assert call.event == (model.inbox[0][0] if takes_event else None)
        assert (call.event_count, call.execute_count) == (model.events + takes_event, model.executes)
        assert (None if call.state is None else call.state.value) == model.state
        assert call.scheduled_at == model.scheduled
        assert (call.failure is not None) == (piece.hook == "on_error")

    def compare(self) -> None:
        model, status = self.model, self.bench.status()
        assert status.status == model.status()
        held = [event for event, _ in (*model.inbox, *model.dead)]
        done = [*model.applied, *model.handled, *model.dropped]
        assert sorted([*held, *done]) == sorted(model.accepted), "I-1: each event exactly once"
        if not model.exists:
            return
        body = self.bench.body
        assert [(queued.event, queued.id) for queued in body.inbox] == model.inbox
        assert [(dead.event, dead.id) for dead in body.dead] == model.dead
        assert (status.queued_events, status.dead_letters) == (len(model.inbox), len(model.dead))
        assert (status.event_count, status.execute_count) == (model.events, model.executes), "I-6"
        assert status.scheduled_at == maybe_datetime(model.scheduled)
        assert self.bench.state == model.state
        parked = model.parked()
        assert status.parked_at == (None if parked is None else parked.hook)
        assert (status.last_error is not None) == model.failed


def test_I_1_I_3_I_4_I_6_I_9_random_histories_agree_with_the_model() -> None:
    run_state_machine_as_test(TaskMachine, settings=SETTINGS)
