"""What the state machines of the three kinds share: time, workers, leases, alarms, stale tokens.

A machine feeds random events to a `Bench` (the real step, every law of `support.laws` asserted) and tells
a dumb model of the specification the same. After each rule one invariant compares the two.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support.model import Piece, Refused
from support.steps import MINUTE, SECOND, Bench

from durable_jobs_core.codec import encode
from durable_jobs_core.errors import DurableJobsError
from durable_jobs_core.events import AlarmMisfiled
from durable_jobs_core.words import Token

SETTINGS = settings(
    max_examples=60,
    stateful_step_count=40,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
STALE = Token(0, 99)
FLIPS = st.booleans()
SPANS = st.sampled_from([1, SECOND, 5 * SECOND, 10 * SECOND, 25 * SECOND, MINUTE, 10 * MINUTE])


class Machine(RuleBasedStateMachine):
    """One instance, a worker that comes and goes, and time. `model` has the methods of the kind."""

    bench: Bench
    model: Any

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.keys: dict[str, Piece] = {}

    @property
    def now(self) -> int:
        """The virtual instant."""
        return self.bench.now

    @property
    def lease_until(self) -> int | None:
        """When the lease of the attempt in flight ends."""
        return self.bench.lease.until if self.model.flies else None

    def both(self, model: Callable[[], Any], bench: Callable[[], Any]) -> tuple[Any, Any]:
        """What the model and the bench answer; if it is an error, the same, and nothing changes (I-9)."""
        before, expected = self.stored(), model()
        if not isinstance(expected, Refused):
            return expected, bench()
        with pytest.raises(DurableJobsError) as caught:
            bench()
        assert type(caught.value).__name__ == expected.error
        assert self.stored() == before, "I-9: a refused request changes nothing"
        return None, None

    def stored(self) -> bytes | None:
        """The bytes of the instance."""
        record = self.bench.record
        return None if record is None else encode(self.bench.key, record, self.bench.alarm).blob

    def follow(self) -> None:
        """The last step may have started what is due: the model starts the same, or neither does."""
        begun = self.model.advance(self.now, self.bench.worker)
        calls = len(self.bench.calls)
        assert begun == (calls > self.calls), "what is due is started, once, and nothing else is"
        self.calls = calls
        if begun:
            self.compare_key()
            self.compare_call()

    def compare_key(self) -> None:
        """S-18: every attempt of a run has its key, every other run another."""
        key = self.bench.call.idempotency_key
        assert key is not None
        assert self.keys.setdefault(key, self.model.in_flight) is self.model.in_flight
        assert list(self.keys.values()).count(self.model.in_flight) == 1

    def compare_call(self) -> None:
        """The leased call is the one the model expects."""
        raise NotImplementedError

    # -- time and workers

    @rule(ms=SPANS)
    def time_goes_on(self, ms: int) -> None:
        """Nothing happens."""
        self.bench.wait(ms)

    @rule(there=FLIPS)
    def worker_comes_or_goes(self, there: bool) -> None:
        """The node that steps may start runs, or not."""
        self.bench.worker = there

    @rule()
    def alarm(self) -> None:
        """It goes off: early, late or twice."""
        early = self.bench.alarm is None or self.bench.alarm > self.now
        if self.model.flies and self.bench.worker and not early:
            self.model.crash(self.now)
        self.bench.fire()
        assert not (early and self.bench.transition.commit), "S-4: an early alarm changes nothing"
        self.follow()

    @precondition(lambda self: self.bench.alarm is not None)
    @rule()
    def alarm_in_time(self) -> None:
        """It goes off when it should."""
        assert self.bench.alarm is not None
        self.bench.now = max(self.now, self.bench.alarm)
        self.alarm()

    @rule()
    def alarm_is_misfiled(self) -> None:
        """The index had another alarm."""
        self.bench.feed(AlarmMisfiled(None))

    # -- the attempt in flight

    @precondition(lambda self: self.model.flies)
    @rule()
    def worker_dies(self) -> None:
        """The lease ends without completion, and another worker takes over."""
        self.bench.worker = True
        self.bench.now = max(self.now, self.bench.lease.until)
        self.alarm()

    @precondition(lambda self: self.model.flies)
    @rule()
    def hand_back(self) -> None:
        """The attempt is released at shutdown."""
        self.model.hand_back(self.now)
        self.bench.release()
        self.follow()

    @precondition(lambda self: self.model.flies)
    @rule()
    def renew(self) -> None:
        """The engine still runs the hook."""
        self.bench.renew()

    @precondition(lambda self: self.model.flies)
    @rule(retryable=FLIPS)
    def fail(self, retryable: bool) -> None:
        """The hook raises."""
        self.model.fail(self.now, retryable)
        self.bench.fail(retryable=retryable)
        self.follow()

    @rule(what=st.sampled_from(["succeed", "fail", "release", "renew"]))
    def stale(self, what: str) -> None:
        """I-3: a token that is not current changes nothing; a completion is reported."""
        before = self.bench.record
        getattr(self.bench, what)(token=STALE)
        assert self.bench.record is before
        assert self.bench.emitted == ([] if what == "renew" else ["job.stale"])

    @precondition(lambda self: self.model.exists)
    @rule()
    def terminate(self) -> None:
        """The client ends the instance."""
        dropped, reply = self.both(self.model.terminate, self.bench.terminate)
        assert (reply.terminated, reply.discarded_events) == (True, dropped)

    @invariant()
    def agrees(self) -> None:
        """The stored instance and the model are the same, and the alarm is the one work needs (I-4)."""
        if not hasattr(self, "bench"):
            return
        assert (self.bench.record is not None) == self.model.exists
        assert self.bench.alarm == self.model.alarm(self.lease_until), "I-4"
        self.compare()

    def compare(self) -> None:
        """Compare what clients see."""
        raise NotImplementedError
