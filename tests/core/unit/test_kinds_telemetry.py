"""What the kinds tell, value by value and field by field, as it is sent with states (S-65)."""

from __future__ import annotations

from typing import Any

import pytest
from support.steps import MINUTE, SECOND, Bench, T, asked, continuous, debounce, raises, returns, task

from durable_jobs_core.errors import ExecutionError
from durable_jobs_core.retry import Retry
from durable_jobs_core.telemetry import TelemetryEvent, iso

Told = tuple[str, int | None, dict[str, Any]]


def told(value: TelemetryEvent) -> Told:
    """A value: its type, its number, its fields but the stack of an error."""
    fields = value.fields(with_state=True)
    fields.get("error", {}).pop("stack", None)
    return value.type, value.seq, fields


def failed(run: int, attempt: int, state: object, *, runs: int = 0, again: bool = False) -> dict[str, Any]:
    """The fields of a `job.failed` of `execute`."""
    return {
        "hook": "execute",
        "run": run,
        "runCount": runs,
        "attempt": attempt,
        "error": {"message": "boom", "name": "Error"},
        "willRetry": again,
        "preExecutionState": state,
    }


def executed(run: int, state: object, *, hook: str = "execute", runs: int = 0, ms: int = 0) -> dict[str, Any]:
    """The fields of a `job.executed` after one attempt."""
    return {
        "hook": hook,
        "run": run,
        "runCount": runs,
        "attempt": 1,
        "durationMs": ms,
        "preExecutionState": state,
    }


def test_S_65_what_a_continuous_instance_tells() -> None:
    bench = Bench(continuous(on_exhausted="park"))
    bench.start(3)
    bench.wait(SECOND)
    bench.succeed(asked(4))
    bench.wake()
    bench.fail()
    bench.wake()
    bench.crash()
    bench.wait(2 * SECOND)
    bench.fail_for_good()
    bench.trigger()
    bench.succeed(asked(5))
    bench.trigger()
    bench.wait(SECOND)
    bench.succeed(asked(terminate="done"))

    assert [told(value) for value in bench.telemetry] == [
        ("job.started", 1, {"input": 3}),
        ("job.executed", 2, executed(1, 3, runs=1, ms=SECOND)),
        ("job.failed", 3, failed(2, 1, 4, runs=2, again=True)),
        ("job.crashed", 4, {"hook": "execute", "attempt": 2, "crashes": 1}),
        ("job.failed", 5, failed(2, 2, 4, runs=2)),
        ("job.retryExhausted", 6, {"attempts": 2, "reason": "non_retryable"}),
        ("job.executed", 7, executed(2, 4, runs=2)),
        ("job.terminated", 8, {"reason": "done", "runCount": 3}),
    ]  # fmt: skip
    assert {value.life for value in bench.telemetry} == {bench.call.life}
    assert [value.at - T for value in bench.telemetry[:2]] == [0, SECOND]


@pytest.mark.parametrize("way", ["fail_for_good", "crash"])
def test_S_24_S_65_a_continuous_instance_that_its_policy_ends_tells_its_runs(way: str) -> None:
    bench = Bench(continuous(on_exhausted="terminate", max_crashes=1))
    bench.start()
    bench.succeed()
    bench.wake()

    getattr(bench, way)()

    reason = {"fail_for_good": "non_retryable", "crash": "crashed"}[way]
    assert told(bench.telemetry[-1])[2] == {"reason": reason, "runCount": 2}


def test_S_65_what_a_debounce_tells() -> None:
    bench = Bench(debounce(reducer=True, on_exhausted="terminate"))
    bench.add(1)
    bench.wait(SECOND)
    bench.add(2)
    bench.wake()
    bench.add(3)
    bench.wait(SECOND)
    bench.succeed()
    bench.wake()
    bench.fail()
    bench.flush()
    bench.crash()
    bench.fail_for_good()
    bench.add(4)
    bench.clear()

    begun = T + 30 * SECOND
    assert [told(value) for value in bench.telemetry] == [
        ("debounce.started", 1, {"flushAt": iso(begun)}),
        ("debounce.started", 2, {"flushAt": iso(begun + 30 * SECOND)}),
        ("job.executed", 3, executed(1, [1, 2], ms=SECOND)),
        ("debounce.flushed", 4, {"eventCount": 2, "reason": "timeout", "durationMs": 30 * SECOND}),
        ("job.failed", 5, failed(2, 1, [3], again=True)),
        ("job.crashed", 6, {"hook": "execute", "attempt": 1, "crashes": 1}),
        ("job.failed", 7, failed(2, 1, [3])),
        ("job.retryExhausted", 8, {"attempts": 1, "reason": "non_retryable"}),
        ("job.terminated", 9, {"reason": "non_retryable", "runCount": 0}),
        ("debounce.started", 10, {"flushAt": iso(bench.now + 30 * SECOND)}),
        ("job.terminated", 11, {"reason": "cleared", "runCount": 0}),
    ]


ONCE = Retry(max_attempts=1)


@pytest.mark.parametrize("policy", ["park", "continue", "terminate"])
def test_S_24_S_65_a_task_that_gives_up_tells_why(policy: Any) -> None:
    bench = Bench(task(retry=ONCE, on_exhausted=policy))
    bench.send()
    bench.trigger()

    bench.fail()

    ended = [("job.terminated", 4, {"reason": "max_attempts", "runCount": 0})]
    assert list(map(told, bench.telemetry[1:])) == [
        ("job.failed", 2, failed(1, 1, "e")),
        ("job.retryExhausted", 3, {"attempts": 1, "reason": "max_attempts"}),
        *(ended if policy == "terminate" else []),
    ]


def test_S_65_an_on_idle_that_gives_up_as_a_trigger_came_tells_why() -> None:
    bench = Bench(task("on_idle", retry=ONCE))
    bench.send()
    bench.trigger()
    bench.succeed()
    bench.trigger()

    bench.fail()

    assert (bench.emitted, bench.call.hook) == (["job.failed", "job.retryExhausted"], "execute")
    assert bench.telemetry[-1].fields(with_state=True) == {"attempts": 1, "reason": "max_attempts"}


def test_S_65_what_the_hooks_of_a_task_tell() -> None:
    bench = Bench(task("on_error", "on_idle"))
    bench.inline["on_event"] = returns(asked("sent", after=MINUTE))
    bench.send()
    bench.wake()
    bench.send("queued")
    bench.wait(SECOND)
    bench.succeed(asked("executed"))
    bench.succeed(asked("applied"))
    bench.succeed(asked(after=MINUTE))
    bench.wake()
    bench.fail_for_good()
    bench.succeed(asked(after=SECOND))
    bench.wake()
    bench.succeed(asked(after=SECOND))
    bench.terminate("why")

    def scheduled(at: int, trigger: str) -> dict[str, Any]:
        return {"scheduledAt": iso(at), "trigger": trigger}

    second = T + MINUTE + SECOND
    assert [told(value) for value in bench.telemetry] == [
        ("task.scheduled", 1, scheduled(T + MINUTE, "event")),
        ("job.executed", 2, executed(0, None, hook="on_event")),
        ("job.executed", 3, executed(1, "sent", ms=SECOND)),
        ("job.executed", 4, executed(2, "executed", hook="on_event")),
        ("task.scheduled", 5, scheduled(second + MINUTE, "idle")),
        ("job.failed", 6, failed(3, 1, "applied")),
        ("job.retryExhausted", 7, {"attempts": 1, "reason": "non_retryable"}),
        ("task.scheduled", 8, scheduled(second + MINUTE + SECOND, "error")),
        ("task.scheduled", 9, scheduled(second + MINUTE + 2 * SECOND, "execute")),
        ("job.executed", 10, executed(4, "applied")),
        ("job.terminated", 11, {"reason": "why", "runCount": 0}),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("hook", "trigger"), [("on_event", "event"), ("on_idle", "idle"), ("on_error", "error")]
)
def test_S_65_an_inline_hook_that_schedules_tells_so(hook: str, trigger: str) -> None:
    bench = Bench(task("on_idle", "on_error"))
    if hook == "on_error":
        bench.inline["on_event"] = raises(ValueError("no"))
    bench.inline[hook] = returns(asked(after=MINUTE))

    bench.send()

    assert ("task.scheduled", 1, {"scheduledAt": iso(T + MINUTE), "trigger": trigger}) in map(
        told, bench.telemetry
    )


def test_S_65_an_event_that_was_applied_is_told_though_its_on_idle_terminates() -> None:
    bench = Bench(task("on_idle"))
    bench.send("before")
    bench.wait(SECOND)
    bench.telemetry.clear()
    bench.inline["on_idle"] = returns(asked(terminate="done"))

    reply = bench.send()

    assert (reply.terminated, bench.record) == (True, None)
    assert list(map(told, bench.telemetry)) == [
        ("job.executed", 2, executed(0, "before", hook="on_event")),
        ("job.terminated", 3, {"reason": "done", "runCount": 0}),
    ]


def test_S_65_a_queued_event_that_schedules_tells_so() -> None:
    bench = Bench(task())
    bench.send()
    bench.trigger()
    bench.send("queued")
    bench.succeed()

    bench.succeed(asked(after=MINUTE))

    assert told(bench.telemetry[-2])[2] == {"scheduledAt": iso(T + MINUTE), "trigger": "event"}


@pytest.mark.parametrize("job", [debounce(reducer=True), task("on_error"), task()], ids=lambda job: job.kind)
def test_S_65_what_a_failing_inline_hook_tells(job: Any) -> None:
    bench = Bench(job)
    ask = bench.add if job.kind == "debounce" else bench.send
    ask(1)
    told_before = len(bench.telemetry)
    bench.inline["on_event"] = raises(ValueError("no"))
    handled = "on_error" in job.hooks

    if handled:
        ask(2)
    else:
        with pytest.raises(ExecutionError):
            ask(2)

    (failed,) = bench.telemetry[told_before:]
    assert told(failed) == (
        "job.failed",
        told_before + 1 if handled else None,
        {
            "hook": "on_event", "run": 0, "runCount": 0, "attempt": 1, "willRetry": False,
            "error": {"message": "no", "name": "ValueError"},
            "preExecutionState": [1] if job.kind == "debounce" else 1,
        },
    )  # fmt: skip


def test_S_65_the_seq_of_a_new_life_counts_from_one() -> None:
    bench = Bench(task(retry=None, on_exhausted="terminate"))
    bench.send()
    bench.trigger()
    bench.send("carried")
    ended = bench.call.life

    bench.fail()
    bench.succeed()

    last, next_ = bench.telemetry[-2:]
    assert (last.type, last.life, next_.type, next_.seq) == ("job.terminated", ended, "job.executed", 1)
    assert next_.life == bench.call.life != ended
