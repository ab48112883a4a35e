"""The check of chains can fail: a sound log of writes, each time with one thing wrong."""

from __future__ import annotations

from typing import Any

from soak.chains import Chains, chains

from durable_jobs_core.record import WRITERS_MAX

KEY = "task:ledger:a"
LIFE, NEXT_LIFE = "0123456789abcdef", "fedcba9876543210"


def rev(number: int) -> str:
    """A revision of the one life; of the next, if negative."""
    return f"{LIFE if number >= 0 else NEXT_LIFE}{abs(number):016x}{7:016x}"


class Scene:
    """A log of writes. Revisions are told by their numbers; `None` is no row."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def write(
        self, base: int | None, new: int | None, outcome: str | None = "committed", by: int = 1
    ) -> None:
        """A write, and what was heard of it; `None`: nothing."""
        name = f"{len(self.lines)}"
        write = [KEY, None if base is None else rev(base), None if new is None else rev(new)]
        self.lines.append({"what": "sent", "n": name, "round": by, "writes": [write]})
        if outcome is not None:
            self.lines.append({"what": "heard", "n": name, "round": by, "outcomes": [outcome]})

    def kill(self) -> None:
        """The server is killed."""
        self.lines += [{"what": "killing", "round": 0}, {"what": "killed", "round": 0}]

    def judged(self, stored: int | None, *, may_lose: bool = False) -> Chains:
        """Held against what is stored."""
        return chains(self.lines, {} if stored is None else {KEY: rev(stored)}, may_lose=may_lose)


def scene() -> Scene:
    """Three commits of a life, one of which nobody heard of, and a conflict."""
    made = Scene()
    made.write(None, 1)
    made.write(1, 2, outcome=None)
    made.write(1, 3, outcome="conflicted")
    made.write(2, 4)
    return made


def test_a_chain_is_found_sound_with_what_nobody_heard_of() -> None:
    found = scene().judged(4)

    assert (found.faults, found.lost, found.commits) == ([], 0, 3)


def test_a_life_that_ended_may_be_followed_by_another_also_if_its_end_was_not_heard_of() -> None:
    made = scene()
    made.write(4, None, outcome=None)
    made.write(None, 9)

    assert made.judged(9).faults == []
    assert made.judged(None).faults == [f"{KEY}: {rev(9)} was committed, and is gone"]


def test_I_3_two_commits_over_one_base_are_a_fork() -> None:
    made = scene()
    made.write(2, 5, by=2)

    assert f"{KEY}: history forks, two commits replaced {rev(2)}" in made.judged(5).faults


def test_I_1_a_commit_that_is_gone_is_found() -> None:
    made = scene()
    made.kill()

    assert made.judged(2).faults == [f"{KEY}: {rev(4)} was committed, and is gone"]


def test_what_nobody_wrote_is_found() -> None:
    assert scene().judged(77).faults == [f"{KEY}: {rev(77)} is stored, and nobody wrote it"]


def test_a_log_that_lost_its_end_has_branches_that_are_counted() -> None:
    made = scene()
    made.write(4, 5)
    made.kill()
    made.write(2, 6, by=2)

    found = made.judged(6, may_lose=True)

    assert (found.faults, found.lost) == ([], 2)


def test_without_a_kill_between_them_two_branches_are_a_fork_there_too() -> None:
    made = Scene()
    made.kill()
    made.write(None, 1)
    made.write(1, 2)
    made.write(1, 3, by=2)

    assert any("forks" in fault for fault in made.judged(3, may_lose=True).faults)


def test_nothing_may_go_on_from_what_was_lost() -> None:
    made = scene()
    made.kill()
    made.write(2, 6, by=2)
    made.write(4, 7)

    assert f"{KEY}: history goes on from {rev(4)}, which was lost" in made.judged(6, may_lose=True).faults


def test_a_deletion_that_was_taken_back_counts_as_lost() -> None:
    made = scene()
    made.write(4, None)
    made.kill()
    made.write(4, 6, by=2)

    found = made.judged(6, may_lose=True)

    assert (found.faults, found.lost) == ([], 1)


def test_who_goes_on_with_a_life_whose_end_it_had_committed_otherwise_ought_to_know() -> None:
    made = scene()
    made.kill()
    made.write(2, 6, by=2)
    made.write(6, 7, by=1)
    found = made.judged(7, may_lose=True)

    assert found.returned_to(KEY, found.lost_of[KEY]) == {1}


def test_D_6_who_comes_back_when_so_many_others_have_written_cannot_know() -> None:
    made = scene()
    made.kill()
    for number in range(6, 6 + WRITERS_MAX):
        made.write(2 if number == 6 else number - 1, number, by=number)
    before = made.judged(5 + WRITERS_MAX, may_lose=True)
    made.write(5 + WRITERS_MAX, 99, by=1)
    found = made.judged(99, may_lose=True)

    assert before.lost_of.keys() == found.lost_of.keys() == {KEY}
    assert found.returned_to(KEY, found.lost_of[KEY]) == set()


def test_D_6_who_may_have_met_the_next_life_cannot_know_that_the_one_before_it_had_gone_on() -> None:
    made = scene()
    made.write(4, -5, by=2)
    made.kill()
    made.write(-5, -6, "conflicted", by=1)
    made.write(2, 7, by=1)
    found = made.judged(7, may_lose=True)

    assert (found.faults, found.returned_to(KEY, found.lost_of[KEY])) == ([], set())
