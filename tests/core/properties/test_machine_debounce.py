"""Random histories of a debounce: the real step beside the model of SPEC §6."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule, run_state_machine_as_test
from support.machines import SETTINGS, Machine
from support.model_debounce import DebounceModel
from support.steps import SECOND, Bench, append, debounce, raises

from durable_jobs_core.retry import Retry
from durable_jobs_core.words import maybe_datetime, to_datetime

FLUSH_AFTER, DELAY, IDS_FOR = 10 * SECOND, 5 * SECOND, 20 * SECOND


class DebounceMachine(Machine):
    """Add, flush, clear, and whatever becomes of the batches."""

    model: DebounceModel

    @initialize(
        mode=st.sampled_from(["fixed", "quiet", "capped"]),
        max_events=st.sampled_from([None, 1, 2, 3]),
        max_pending=st.sampled_from([None, 4]),
        policy=st.sampled_from(["park", "terminate"]),
        attempts=st.sampled_from([1, 2]),
    )
    def define(
        self, mode: str, max_events: int | None, max_pending: int | None, policy: str, attempts: int
    ) -> None:
        """A definition, and the model with the same numbers."""
        quiet = {} if mode == "fixed" else {"mode": "quiet", "max_wait": None}
        if mode == "capped":
            quiet["max_wait"] = "25 seconds"
        job = debounce(
            reducer=True,
            flush_after="10 seconds",
            max_events=max_events,
            max_pending=max_pending,
            retry=Retry(max_attempts=attempts, delay="5 seconds", jitter=0),
            on_exhausted=policy,
            max_crashes=2,
            remember_ids=2,
            remember_ids_for="20 seconds",
            **quiet,
        )
        self.bench = Bench(job)
        self.model = DebounceModel(
            flush_after=FLUSH_AFTER,
            quiet=mode != "fixed",
            max_wait=25 * SECOND if mode == "capped" else None,
            max_events=max_events,
            max_pending=max_pending,
            attempts=attempts,
            delay=DELAY,
            max_crashes=2,
            policy=policy,
            ids_max=2,
            ids_for=IDS_FOR,
        )
        self.events = 0

    @rule(id=st.sampled_from([None, None, "a", "b", "c"]), fails=st.sampled_from([False, False, True]))
    def add(self, id: str | None, fails: bool) -> None:
        """S-40, S-60."""
        self.events += 1
        self.bench.inline["on_event"] = raises(ValueError("no")) if fails else append
        expected, reply = self.both(
            lambda: self.model.add(self.now, self.events, id, fails),
            lambda: self.bench.add(self.events, id),
        )
        if reply is not None:
            created, count, due = expected
            assert (reply.created, reply.event_count) == (created, count)
            assert reply.will_flush_at == to_datetime(due)
            self.follow()

    @rule()
    def flush(self) -> None:
        """S-44."""
        reason, count = self.model.flush(self.now)
        reply = self.bench.flush()
        assert (reply.reason, reply.event_count) == (reason, count)
        if count:
            self.follow()

    @rule()
    def clear(self) -> None:
        """S-44."""
        dropped, in_flight = self.model.clear(self.now)
        reply = self.bench.clear()
        assert (reply.cleared, reply.discarded_events, reply.in_flight) == (dropped > 0, dropped, in_flight)
        if dropped:
            self.follow()

    @precondition(lambda self: self.model.flies)
    @rule()
    def succeed(self) -> None:
        """The hook returns."""
        self.model.succeed(self.now)
        self.bench.succeed()
        self.follow()

    def compare_call(self) -> None:
        run, call = self.model.run, self.bench.call
        assert run is not None
        assert call.state is not None
        expected = (self.model.batch, len(self.model.batch), run.reason, run.started)
        assert (call.state.value, call.event_count, call.flush_reason, call.started_at) == expected
        assert (call.attempt, call.crashes) == (run.attempt, run.crashes)
        assert call.attempt <= self.model.attempts, "I-6"

    def compare(self) -> None:
        model, status = self.model, self.bench.status()
        assert status.status == model.status()
        gone = [*model.dropped, *(event for batch in model.flushed for event in batch)]
        assert sorted([*model.window, *model.batch, *gone]) == model.accepted, "I-1, I-2: each exactly once"
        assert self.bench.state == (model.window or model.batch or None)
        assert (status.event_count, status.batch_event_count) == (len(model.window), len(model.batch))
        assert status.started_at == maybe_datetime(model.started if model.window else None)
        assert status.will_flush_at == maybe_datetime(model.due if model.window else None)
        assert status.attempt == (None if model.run is None else model.run.attempt)
        if model.exists:
            assert (status.last_error is not None) == model.failed


def test_I_1_I_2_I_3_I_4_I_6_I_9_random_histories_agree_with_the_model() -> None:
    run_state_machine_as_test(DebounceMachine, settings=SETTINGS)
