"""Random histories of a continuous instance: the real step beside the model of SPEC §5."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule, run_state_machine_as_test
from support.machines import FLIPS, SETTINGS, Machine
from support.model_continuous import ContinuousModel
from support.steps import SECOND, Bench, asked, continuous

from durable_jobs_core.retry import Retry
from durable_jobs_core.schedule import cron, every, skip
from durable_jobs_core.words import maybe_datetime

SPAN, DELAY = 10 * SECOND, 5 * SECOND
SCHEDULES = {
    "every": (every("10 seconds"), SPAN, False),
    "aligned": (every("10 seconds", align="start"), SPAN, True),
    "cron": (cron("* * * * *"), None, True),
}
VALUES = st.integers(0, 9)


class ContinuousMachine(Machine):
    """Start, trigger, pause, resume, reschedule, and whatever becomes of the runs."""

    model: ContinuousModel

    @initialize(
        schedule=st.sampled_from(sorted(SCHEDULES)),
        policy=st.sampled_from(["park", "continue", "terminate"]),
        attempts=st.sampled_from([1, 2]),
        immediately=FLIPS,
        grace=st.sampled_from([None, 2 * SECOND]),
    )
    def define(self, schedule: str, policy: str, attempts: int, immediately: bool, grace: int | None) -> None:
        """A definition, and the model with the same numbers."""
        made, span, grid = SCHEDULES[schedule]
        job = continuous(
            made,
            retry=Retry(max_attempts=attempts, delay="5 seconds", jitter=0),
            on_exhausted=policy,
            start_immediately=immediately,
            misfire="coalesce" if grace is None else skip("2 seconds"),
            max_crashes=2,
        )
        self.bench = Bench(job)
        self.model = ContinuousModel(
            span=span,
            grid=grid,
            grace=grace,
            immediately=immediately,
            attempts=attempts,
            delay=DELAY,
            max_crashes=2,
            policy=policy,
        )

    @rule(value=VALUES)
    def start(self, value: int) -> None:
        """S-30."""
        created, status = self.model.start(self.now, value)
        reply = self.bench.start(value)
        assert (reply.created, reply.status) == (created, status)
        if created:
            self.follow()

    @rule()
    def trigger(self) -> None:
        """S-34."""
        triggered, joined = self.model.trigger(self.now)
        reply = self.bench.trigger()
        assert (reply.triggered, reply.joined) == (triggered, joined)
        assert not (joined and self.bench.transition.commit), "joined: nothing is written"
        if triggered and not joined:
            self.follow()

    @rule()
    def pause(self) -> None:
        """S-35."""
        changed, reply = self.both(self.model.pause, self.bench.pause)
        if reply is not None:
            assert reply.paused == changed
        if changed:
            self.follow()

    @rule()
    def resume(self) -> None:
        """S-35."""
        changed, reply = self.both(lambda: self.model.resume(self.now), self.bench.resume)
        if reply is not None:
            assert reply.resumed == changed
        if changed:
            self.follow()

    @rule()
    def reschedule(self) -> None:
        """S-8."""
        done, reply = self.both(lambda: self.model.reschedule(self.now), self.bench.reschedule)
        if reply is not None:
            assert reply.rescheduled == done

    @precondition(lambda self: self.model.flies)
    @rule(value=st.none() | VALUES)
    def succeed(self, value: int | None) -> None:
        """The hook returns."""
        self.model.succeed(self.now, value)
        self.bench.succeed(asked(value))
        self.follow()

    @precondition(lambda self: self.model.flies)
    @rule()
    def hook_terminates(self) -> None:
        """The hook ends the instance."""
        self.model.end()
        self.bench.succeed(asked(terminate="done"))
        self.follow()

    def compare_call(self) -> None:
        run, call = self.model.run, self.bench.call
        assert run is not None
        expected = (self.model.runs, run.attempt, run.crashes, run.serves, self.model.state)
        assert call.state is not None
        assert (call.run_count, call.attempt, call.crashes, call.scheduled_for, call.state.value) == expected

    def compare(self) -> None:
        model, status = self.model, self.bench.status()
        assert status.status == model.status()
        if not model.exists:
            return
        assert self.bench.state == model.state
        assert status.run_count == model.runs, "I-6"
        assert status.attempt == (None if model.run is None else model.run.attempt)
        assert status.attempt is None or status.attempt <= model.attempts, "I-6"
        assert status.next_run_at == maybe_datetime(None if model.flies else model.alarm(None))
        assert status.last_run_at == maybe_datetime(model.last_run)
        assert (status.last_error is not None) == model.failed


def test_I_3_I_4_I_6_I_9_random_histories_agree_with_the_model() -> None:
    run_state_machine_as_test(ContinuousMachine, settings=SETTINGS)
