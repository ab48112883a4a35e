"""Each wrong backend is caught by the check of the rule it breaks; the right one in its place is not."""

from __future__ import annotations

from itertools import count

import attrs
import pytest
from durable_jobs_conformance import Broken, Check, Harness, Store, certify, checks, durability, threads
from durable_jobs_memory import MemoryBackend
from shelf.all import BACKENDS
from support import wrong_lanes
from support.harnesses import MEMORY, SQLITE
from support.wrong_backends import (
    ClockHasFractions,
    ComparesNothing,
    DueOnlyAfterTheInstant,
    ReadsWhatItRead,
    RefusesInOtherWords,
    Rows,
)

from durable_jobs_core.backend import Answer, Batch, Page, Query, Refused

CASES = [pytest.param(*rest, id=f"{name}-{rest[-1]}") for name, *rest in BACKENDS]


@pytest.mark.parametrize(("wrong", "right", "name"), CASES)
def test_the_wrong_one_is_caught_by_the_check_of_the_rule_it_breaks(
    wrong: Harness, right: Harness, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "PATIENCE_SECONDS", 1.0)  # it is not to be met
    monkeypatch.setattr(durability, "PATIENCE_SECONDS", 1.0)
    (check,) = [check for check in checks(wrong) if str(check) == name]

    with pytest.raises(Broken) as caught:
        check(wrong)

    assert caught.value.rule == check.rule


@pytest.mark.parametrize(("wrong", "right", "name"), CASES)
def test_the_right_one_in_its_place_is_not_caught(wrong: Harness, right: Harness, name: str) -> None:
    (check,) = [check for check in checks(right) if str(check) == name]

    check(right)


def test_a_store_crashes_when_it_has_committed_again_whatever_it_refused_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The nodes of a Cluster refuse for two seconds: killed then, there is nothing to cut off."""
    monkeypatch.setattr(durability, "REST_SECONDS", 0.0)
    committed: list[int] = []
    refusals = exchanges = 0

    class Away(Rows):
        def crash(self) -> None:
            nonlocal refusals, exchanges
            committed.append(exchanges)
            refusals, exchanges = 50, 0

    class Refuses(MemoryBackend):
        def exchange(self, lane: int, batch: Batch) -> Answer:
            nonlocal refusals, exchanges
            if not (refusals and batch.writes):
                exchanges += 1
                return super().exchange(lane, batch)
            refusals -= 1
            outcomes = (Refused("it is not there yet", transient=True),) * len(batch.writes)
            return attrs.evolve(super().exchange(lane, attrs.evolve(batch, writes=())), outcomes=outcomes)

    (check,) = [one for one in checks(SQLITE) if one.name == "what_a_crash_cuts_off_no_one_can_tell"]
    check(Harness("away", lambda: Away(handle=Refuses), frozenset({"durable"})))

    assert len(committed) == len(durability.PARTS)
    assert min(committed) >= 3


def test_a_cursor_may_be_another_each_time_and_a_page_shorter() -> None:
    """As one that is encrypted, and a page that ends when its time is up."""
    turns = count()

    class Varies(MemoryBackend):
        def scan(self, query: Query, after: str | None, limit: int) -> Page:
            turn = next(turns)
            page = super().scan(query, after and after.partition(" ")[2], min(limit, 1 + turn % 3))
            return page if page.after is None else Page(page.rows, f"{turn} {page.after}")

    (check,) = [one for one in checks(MEMORY) if one.name == "a_cursor_is_good_for_every_handle_and_again"]
    check(Harness("varies", lambda: Rows(handle=Varies)))


def test_who_finds_nothing_to_claim_does_not_ask_for_ever() -> None:
    """Processes have 30 seconds, and a right store may take 50 ms for an exchange."""
    asked = 0

    class Counts(MemoryBackend):
        def exchange(self, lane: int, batch: Batch) -> Answer:
            nonlocal asked
            asked += 1
            return super().exchange(lane, batch)

    (check,) = [
        one for one in checks(MEMORY) if one.name == "every_entry_is_claimed_once_while_commits_go_on"
    ]
    check(Harness("counts", lambda: Rows(handle=Counts)))

    assert asked < 400


def test_the_report_explains_what_was_asked_expected_and_got() -> None:
    report = certify(Harness("late", lambda: Rows(DueOnlyAfterTheInstant)))

    assert report.level == "none"
    (failed,) = [failed for failed in report.failed if failed.check.startswith("an_entry_is_due_at")]
    assert str(failed.why).splitlines() == [
        "R-7 an entry is due at its instant and not before",
        "  asked     Write task:mail:a expecting None: b'r0', wake 10",
        "  asked     claim {'task:mail': 10} due at 9, hold until 1009",
        "  asked     claim {'task:mail': 10} due at 10, hold until 1010",
        "  expected  ['a']",
        "  got       []",
    ]


def test_the_report_says_what_the_rules_are_that_are_broken_each_once() -> None:
    report = str(certify(Harness("late", lambda: Rows(DueOnlyAfterTheInstant))))

    said = [line.partition(" says: ") for line in report.splitlines() if " says: " in line]
    assert [rule for rule, _, _ in said] == list(dict.fromkeys(rule for rule, _, _ in said))
    (claim,) = [text for rule, _, text in said if rule == "R-7"]
    assert claim.startswith("*Claim.* Of its lane, per job up to its limit, entries <= `now`, earliest first")
    assert claim.endswith("two claims never return the same entry.")


def test_no_search_is_made_after_an_example_that_failed() -> None:
    harness = Harness("late", lambda: Rows(DueOnlyAfterTheInstant))
    ran: list[Check] = []

    certify(harness, progress=ran.append)

    assert [check for check in checks(harness) if check not in ran] == [
        c for c in checks(harness) if c.is_search
    ]


def test_what_is_noted_again_and_again_is_told_once() -> None:
    broken = Broken(1, 2)
    for note in "step", "step", "step", "another":
        broken.add_note(note)

    assert str(broken).splitlines()[2:] == ["  note      step  (3 times)", "  note      another"]


def test_of_two_long_sequences_the_first_place_is_told_where_they_differ() -> None:
    long = [f"{n:03}" for n in range(300)]

    for expected, got, shown in (
        (long, [*long[:-1], "x"], ("at 299 of 300: '299'", "at 299 of 300: 'x'")),
        (long, long[:-1], ("at 299 of 300: '299'", "at 299 of 299: nothing")),
    ):
        lines = str(Broken(expected, got)).splitlines()
        assert lines == [f"  expected  {shown[0]}", f"  got       {shown[1]}"]


@pytest.mark.parametrize("wrong", [ComparesNothing, DueOnlyAfterTheInstant])
def test_random_batches_find_it_too_and_show_the_steps(wrong: type) -> None:
    harness = Harness("wrong", lambda: Rows(wrong))
    (check,) = [check for check in checks(harness) if check.name.startswith("random_batches")]

    with pytest.raises(Broken) as caught:
        check(harness)

    steps = [line for line in str(caught.value).splitlines() if "state." in line]
    assert steps
    assert all("state.exchange(" in step or "state.teardown()" in step for step in steps), "and nothing else"


def test_a_backend_may_refuse_in_words_of_its_own() -> None:
    harness = Harness("other words", lambda: Rows(handle=RefusesInOtherWords))

    for check in checks(harness):
        if check.name.startswith("random_batches") or check.rule == "R-5":
            check(harness)


def test_what_is_right_in_each_lane_is_right() -> None:
    report = certify(wrong_lanes.RIGHT)

    assert (report.level, report.failed) == ("base", ())


def test_what_is_equal_and_of_another_type_is_told_by_its_place_and_type() -> None:
    report = certify(Harness("fractions", lambda: Rows(ClockHasFractions)))

    lines = str(report.failed[0].why).splitlines()
    assert "  expected  answer.clock: int" in lines
    assert lines[-1].endswith(": float")


def test_each_handle_is_told_by_its_number() -> None:
    (check,) = [check for check in checks(MEMORY) if check.name == "a_handle_sees_what_another_wrote"]

    with pytest.raises(Broken) as caught:
        check(Harness("cache", lambda: Rows(handle=ReadsWhatItRead)))

    assert [asked.partition("]")[0] for asked in caught.value.asked[-2:]] == ["[handle 1", "[handle 2"]


def test_the_first_check_that_fails_is_of_the_first_rule_and_a_search_comes_last() -> None:
    names = [str(check) for check in checks(Harness("all", Rows, frozenset({"durable", "damage"})))]
    base = [str(check) for check in checks(MEMORY)]

    assert names[0].startswith("harness-")
    assert names[1] == "R-1-a_row_and_its_entry_come_together"
    assert base[-1] == "R-1..R-8-random_batches_agree_with_a_dictionary"
    assert names[: len(base)] == base, "what needs a capability comes after it"


def test_a_backend_that_raises_is_reported_and_not_raised() -> None:
    class Raises(MemoryBackend):
        def scan(self, *_: object) -> None:  # type: ignore[override]
            raise ZeroDivisionError("division by zero")

    class Rows(Store):
        def open(self) -> MemoryBackend:
            return Raises()

    report = certify(Harness("raises", Rows))

    (failed,) = [failed for failed in report.failed if failed.check == "scan_lists_every_row_once[1]"]
    lines = str(failed.why).splitlines()
    assert lines[-4:-1] == [
        "  asked     scan({}, after=None, limit=1)",
        "  expected  no exception",
        "  got       ZeroDivisionError: division by zero",
    ]
    assert lines[-1].startswith("  note      raised in scan, test_the_kit_can_fail.py line ")
