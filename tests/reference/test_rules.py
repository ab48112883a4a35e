"""Each rule explains what its sentence says, and not what is next to it.

In a recorded step that a rule is needed for, ours is made to do something else. What that shows must
stay unexplained, by this rule and by all others.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from attrs import evolve

from durable_jobs_core import DefinitionError, StorageError
from reference.compare import Difference, Step, compare
from reference.player import Player, Seen
from reference.replay import Replay, Report, load, replay
from reference.rules import RULES
from reference.test_reference import FOLDER, needs_runs

Spoil = Callable[[Seen], None]


def a_moment_later(seen: Seen) -> None:
    """The alarm is not where the sentence puts it."""
    assert seen.alarm is not None
    seen.alarm += 1
    seen.untouched = False


def an_alarm(seen: Seen) -> None:
    """There is one where there has to be none."""
    assert seen.alarm is None
    due_at(1_700_000_099_999)(seen)


def due_at(instant: int) -> Spoil:
    def spoil(seen: Seen) -> None:
        seen.alarm, seen.untouched = instant, False

    return spoil


def touched(seen: Seen) -> None:
    """It has written."""
    seen.untouched = False


def lost(seen: Seen) -> None:
    """What it held is gone."""
    seen.body, seen.untouched = None, False


def refused(seen: Seen) -> None:
    """The caller is told of an error that has nothing to do with it."""
    seen.result, seen.error = None, StorageError("no")


def answers(name: str, value: Any) -> Spoil:
    def spoil(seen: Seen) -> None:
        seen.result[name] = value

    return spoil


def shows(name: str, value: Any, *, call: int = 0, read: int | None = None) -> Spoil:
    """To a hook, when it is called or when it reads."""

    def spoil(seen: Seen) -> None:
        shown = seen.calls[call]["ctx"] if read is None else seen.calls[call]["steps"][read]
        shown[name] = value

    return spoil


def tells(type_: str, name: str, value: Any) -> Spoil:
    def spoil(seen: Seen) -> None:
        next(event for event in seen.events if event["type"] == type_)[name] = value

    return spoil


def tells_twice(type_: str) -> Spoil:
    def spoil(seen: Seen) -> None:
        seen.events.append(next(event for event in seen.events if event["type"] == type_))

    return spoil


def calls_twice(seen: Seen) -> None:
    seen.calls.append(seen.calls[-1])


def does_not_call(seen: Seen) -> None:
    seen.calls.pop()


def within(spoil: Spoil) -> Spoil:
    """The same of the request that arrives while the hook runs."""

    def nested(seen: Seen) -> None:
        steps = [step for call in seen.calls for step in call["steps"]]
        spoil(next(step["nested"][2] for step in steps if "nested" in step))

    return nested


def tells_more(seen: Seen) -> None:
    seen.events.append(seen.events[-1])


def tells_less(seen: Seen) -> None:
    seen.events.pop()


def answers_otherwise(seen: Seen) -> None:
    for name, value in (seen.result or {}).items():
        seen.result[name] = value + 7 if type(value) is int else "another"


def shows_otherwise(seen: Seen) -> None:
    for call in seen.calls:
        call["ctx"]["instanceId"] = "another"


ANYTHING: list[Spoil] = [
    a_moment_later,
    lost,
    refused,
    calls_twice,
    does_not_call,
    tells_more,
    tells_less,
    answers_otherwise,
    shows_otherwise,
]


BESIDE: list[tuple[str, str, int, Spoil]] = [
    ("S-63", "c32_colon_collision", 5, touched),
    ("S-62", "c22_excess_props", 1, refused),
    ("S-62", "c22_excess_props", 1, an_alarm),
    ("S-62", "d08_invalid_first_event", 1, refused),
    ("S-8", "c42_alarm_unknown_def", 3, a_moment_later),
    ("S-8", "x05_alarm_unknown_def", 3, touched),
    ("S-40", "d06_reducer", 1, shows("state", {"n": 0})),
    ("S-40", "d07_readme_reducer", 1, a_moment_later),
    ("I-9", "t07_event_fails_no_onError", 1, touched),
    ("I-9", "d08_invalid_first_event", 2, answers("status", "debouncing")),
    ("I-9", "d08_invalid_first_event", 3, a_moment_later),
    ("I-9", "d08_invalid_first_event", 3, answers("created", None)),
    ("S-4", "c52_alarm_early", 3, a_moment_later),
    ("S-4", "c53_duplicate_alarm", 3, refused),
    ("S-30", "c05_terminate_in_start", 1, answers("status", "paused")),
    ("S-30", "c09_start_fails_no_retry", 1, refused),
    ("S-11", "c37_concurrent_trigger", 2, within(refused)),
    ("S-11", "c38_concurrent_terminate_alarm", 2, an_alarm),
    ("S-11", "c40_concurrent_terminate_fail_retry", 3, an_alarm),
    ("S-11", "c40_concurrent_terminate_fail_retry", 4, shows("attempt", 3)),
    ("S-11", "t18_concurrent_send", 2, shows("event", {"n": 3}, call=1)),
    ("S-11", "t18_concurrent_send", 2, within(answers("scheduledAt", 1_700_000_006_000))),
    ("S-34", "c18_trigger_while_retrying", 3, shows("runCount", 3)),
    ("S-34", "c11_trigger_fails_no_retry", 3, a_moment_later),
    ("S-34", "c23_nullable_state", 3, calls_twice),
    ("S-38", "d02_manual_flush", 4, a_moment_later),
    ("S-38", "c11_trigger_fails_no_retry", 3, refused),
    ("S-38", "d15_manual_flush_retry", 4, answers("retryScheduled", None)),
    ("S-42", "d10_alarm_fail_no_retry", 4, answers("eventCount", 3)),
    ("S-42", "d10_alarm_fail_no_retry", 4, answers("willFlushAt", 1_700_000_059_999)),
    ("S-42", "d10_alarm_fail_no_retry", 4, shows("state", {"total": 2, "items": [2]})),
    ("S-42", "d10_alarm_fail_no_retry", 4, lost),
    ("S-42", "d16_adds_burn_attempts", 4, a_moment_later),
    ("S-42", "d17_add_during_flush", 2, a_moment_later),
    ("S-42", "d17_add_during_flush", 2, within(answers("eventCount", 3))),
    ("S-43", "d29_retry_attempt_context", 4, shows("flushReason", "manual")),
    ("S-43", "d29_retry_attempt_context", 5, tells("debounce.flushed", "reason", "flushAfter")),
    ("S-44", "d15_manual_flush_retry", 3, shows("attempt", 3)),
    ("S-44", "d15_manual_flush_retry", 4, a_moment_later),
    ("S-44", "d15_manual_flush_retry", 4, lost),
    ("S-44", "d19_clear_during_flush", 2, within(answers("discardedEvents", 2))),
    ("S-45", "d10_alarm_fail_no_retry", 3, answers("status", "flushing")),
    ("S-45", "d13_retry_success", 3, answers("eventCount", 2)),
    ("S-45", "d04_max_events", 4, answers("willFlushAt", 1_700_000_001_001)),
    ("S-20", "c16_jitter", 1, due_at(1_700_000_015_001)),
    ("S-20", "c16_jitter", 1, due_at(1_700_000_006_999)),
    ("S-20", "c15_delays_c_retry_neg", 1, a_moment_later),
    ("S-21", "c46_retry_slow_failure", 1, a_moment_later),
    ("S-21", "c17_max_duration", 3, a_moment_later),
    ("S-21", "c17_max_duration", 4, a_moment_later),
    ("S-21", "c17_max_duration", 4, calls_twice),
    ("S-33", "c28_cron_dst_spring", 1, a_moment_later),
    ("S-33", "c27_cron_exact_boundary", 2, calls_twice),
    ("S-53", "t01_lifecycle", 8, shows("scheduledTime", 1_700_000_005_001)),
    ("S-53", "t02_stale_scheduledAt", 3, answers("status", "parked")),
    ("S-53", "t35_past_schedule", 1, an_alarm),
    ("S-53", "t30_idle_reschedule_loop", 2, a_moment_later),
    ("S-52", "t11_schedule_forms", 2, shows("isFirstEvent", None)),
    ("S-65", "c12_retry_then_success", 1, tells("job.failed", "error", {"message": "no"})),
    ("S-65", "t06_terminate_handlers", 1, tells_twice("job.terminated")),
    ("S-65", "t06_terminate_handlers", 6, tells_twice("job.executed")),
    ("S-65", "c13_retry_exhausted_alarm", 4, tells_twice("job.failed")),
    ("S-65", "t03_onIdle", 3, tells("job.executed", "preExecutionState", {"n": 41})),
    ("S-24", "c13_retry_exhausted_alarm", 4, a_moment_later),
    ("S-24", "c13_retry_exhausted_alarm", 4, tells_twice("job.retryExhausted")),
    ("S-24", "d11_manual_fail_no_retry", 2, an_alarm),
    ("S-22", "c34_die", 1, a_moment_later),
    ("S-22", "c34_die", 4, refused),
    ("S-22", "d24_reducer_dies", 1, refused),
    ("S-22", "t21_die", 1, calls_twice),
    ("S-16", "t13_state_snapshot", 1, shows("state", {"n": 3}, call=1, read=0)),
    ("S-16", "t09_onError", 1, shows("state", {"n": 2}, call=1)),
    ("S-16", "t23_schedule_then_fail_onError", 1, an_alarm),
    ("S-16", "c35_terminate_caught", 1, an_alarm),
    ("I-4", "c10_alarm_fails_no_retry", 3, a_moment_later),
    ("I-4", "c23_nullable_state", 1, calls_twice),
    ("I-4", "c10_alarm_fails_no_retry", 3, answers("nextRunAt", 1_700_000_120_001)),
]


@pytest.fixture(scope="module")
def recorded() -> tuple[dict[str, Any], dict[str, Any]]:
    specs, runs = load(FOLDER)
    return specs, {run["name"]: run for run in runs}


def replayed(recorded: tuple[dict[str, Any], dict[str, Any]], name: str) -> Report:
    report = Report()
    Replay(recorded[1][name], recorded[0], report).steps()
    return report


SPEC = FOLDER.parents[1] / "SPEC.md"


@pytest.mark.skipif(not SPEC.exists(), reason="the specification is not beside this clone")
def test_each_rule_cites_a_sentence_that_is_there() -> None:
    text = SPEC.read_text()

    assert [rule.sentence for rule in RULES if f"\n- {rule.sentence} " not in text] == []


def test_every_rule_has_something_beside_it() -> None:
    beside = {sentence for sentence, *_ in BESIDE} | {"S-32"}

    assert beside == {rule.sentence for rule in RULES}


@needs_runs
@pytest.mark.parametrize(("sentence", "name", "at", "spoil"), BESIDE)
def test_what_is_beside_a_sentence_is_not_explained(
    recorded: Any, monkeypatch: pytest.MonkeyPatch, sentence: str, name: str, at: int, spoil: Spoil
) -> None:
    found = replayed(recorded, name).found
    assert sentence in {each.rule.sentence for each in found if each.at == at and each.rule is not None}

    target, play = recorded[1][name]["steps"][at]["op"], Player.play

    def spoiled(self: Player, op: Any, *args: Any, **options: Any) -> Seen:
        seen = play(self, op, *args, **options)
        if op is target:
            spoil(seen)
        return seen

    monkeypatch.setattr(Player, "play", spoiled)

    assert at in {each.at for each in replayed(recorded, name).unexplained}


def time_passes_in_the_hook(step: dict[str, Any]) -> None:
    step["op"]["script"]["onEvent"].append(["advance", 1_000])
    step["out"]["now"] += 1_000


def the_flush_fails(step: dict[str, Any]) -> None:
    del step["out"]["result"]
    step["out"]["error"] = {"kind": "fail", "tag": "ExecutionError"}


def it_is_late(step: dict[str, Any]) -> None:
    step["op"]["now"] = step["out"]["now"] = step["out"]["now"] + 1_000


UNRECORDED: list[tuple[str, str, int, Callable[[dict[str, Any]], None], str]] = [
    ("S-52", "t01_lifecycle", 5, time_passes_in_the_hook, "alarm"),
    ("S-42", "d12_max_fail_no_retry", 6, the_flush_fails, "error"),
    ("S-53", "t27_write_order", 3, it_is_late, "state executeCount"),
]


@needs_runs
@pytest.mark.parametrize(("sentence", "name", "at", "change", "what"), UNRECORDED)
def test_what_a_sentence_says_is_explained_where_no_recording_shows_it(
    recorded: Any, sentence: str, name: str, at: int, change: Callable[[dict[str, Any]], None], what: str
) -> None:
    run = copy.deepcopy(recorded[1][name])
    change(run["steps"][at])
    report = Report()
    Replay(run, recorded[0], report).steps()

    found = {str(each.difference).split(":")[0]: each.rule for each in report.found if each.at == at}
    rule = found[what]
    assert rule is not None
    assert rule.sentence == sentence


@pytest.fixture(scope="module")
def steps() -> list[Step]:
    """All recorded steps beside ours."""
    taken: list[Step] = []

    def compared(step: Step) -> Iterator[Difference]:
        taken.append(step)
        return compare(step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reference.replay.compare", compared)
        replay(FOLDER)
    return [step for step in taken if step.refused is None]


def wants(difference: Difference) -> bool:
    return any(rule.wants(difference) for rule in RULES)


@needs_runs
@pytest.mark.parametrize("spoil", ANYTHING)
def test_whatever_else_ours_does_in_a_step_is_not_explained(steps: list[Step], spoil: Spoil) -> None:
    planted, explained = 0, []
    for step in steps:
        calls = [{**call, "ctx": {**call["ctx"]}} for call in step.seen.calls]
        seen = evolve(step.seen, calls=calls, events=[*step.seen.events])
        seen.result = {**seen.result} if isinstance(seen.result, dict) else seen.result
        jitters = spoil is a_moment_later and step.spec.get("retry", {}).get("jitter")
        try:
            spoil(seen)
        except (IndexError, AssertionError):
            continue  # there is nothing of the kind in it
        before = [(str(each), each.ours) for each in compare(step)]
        found = list(compare(evolve(step, seen=seen)))
        if jitters or all((str(each), each.ours) in before for each in found):
            continue  # it is what the original does, or might be ours
        planted += 1
        explained += [] if not all(map(wants, found)) else [(step.key, step.op, found)]
    assert planted > 20
    assert explained == []


@needs_runs
def test_a_definition_that_is_refused_for_another_reason_is_not_explained(recorded: Any) -> None:
    report = Report()
    run = Replay(recorded[1]["c30_cron_never"], recorded[0], report)
    run.steps()
    assert {each.rule.sentence for each in report.found if each.rule is not None} == {"S-32"}

    run.player.refused["c_cron_never"] = DefinitionError("no such zone")
    step = recorded[1]["c30_cron_never"]["steps"][1]
    run._step(1, step["op"], step["out"])

    assert report.unexplained != []
