"""The store's clock as a function of the machine's clocks and of what the file says (D-8)."""

from __future__ import annotations

import time

import pytest
from durable_jobs_sqlite import StoreError, _backend, _clock, _exchange, _file
from durable_jobs_sqlite._clock import MARK_AHEAD_MS, RATE, STEP_MS, Plan, Reading, first_plan
from hypothesis import given
from hypothesis import strategies as st
from support.files import raw
from support.ports import refusal

from durable_jobs_core.backend import Committed, Write

HOUR = 3_600_000
WALL = 1_700_000_000_000
PLAN = first_plan(1, "boot", Reading(1_000, WALL), mark=0)


# -- a boot


def test_d8_the_first_process_of_a_boot_sets_the_wall_clock() -> None:
    assert Plan(schema=1, boot="boot", base=WALL - 1_000, since=1_000, target=WALL - 1_000, mark=0) == PLAN
    assert PLAN.clock(1_000) == WALL
    assert PLAN.clock(5_000) == WALL + 4_000
    assert PLAN.ahead(Reading(5_000, WALL + 4_000)) == 0


def test_d8_a_new_boot_is_never_behind_the_last_commit() -> None:
    plan = first_plan(1, "boot", Reading(1_000, WALL), mark=WALL + HOUR)
    assert plan.clock(1_000) == WALL + HOUR
    assert plan.ahead(Reading(1_000, WALL)) == -HOUR
    assert plan.clock(1_000 + RATE * HOUR) == WALL + RATE * HOUR, "it falls back to the wall clock in time"


# -- steps of the wall clock


def test_d8_a_step_is_not_seen_and_followed_by_a_second_a_minute() -> None:
    for step in (HOUR, -HOUR):
        plan = PLAN.following(Reading(1_000, WALL + step))
        sign = 1 if step > 0 else -1
        assert plan.clock(1_000) == WALL
        assert plan.clock(61_000) == WALL + 60_000 + sign * 1_000
        assert plan.clock(1_000 + HOUR) == WALL + HOUR + sign * 60_000
        assert plan.clock(1_000 + 100 * HOUR) == WALL + 100 * HOUR + step
        assert plan.ahead(Reading(1_000, WALL + step)) == step


@pytest.mark.parametrize("step", [-STEP_MS, -1, 0, 1, STEP_MS])
def test_d8_two_readings_that_differ_by_little_are_no_step(step) -> None:
    assert PLAN.following(Reading(9_000, WALL + 8_000 + step)) is PLAN
    assert PLAN.following(Reading(9_000, WALL + 8_000 + STEP_MS + 1)) is not PLAN


steps = st.lists(st.tuples(st.integers(1, 10 * HOUR), st.integers(-10 * HOUR, 10 * HOUR)), max_size=12)


@given(steps)
def test_d8_whatever_the_wall_clock_does_this_one_neither_jumps_nor_goes_back(steps) -> None:
    plan, ticks = PLAN, 1_000
    for passed, off in steps:
        before = plan.clock(ticks)
        ticks += passed
        after = plan.clock(ticks)
        assert passed - passed // RATE - 1 <= after - before <= passed + passed // RATE + 1
        plan = plan.following(Reading(ticks, WALL + ticks + off))
        assert plan.clock(ticks) == after


@given(st.integers(0, HOUR), st.integers(-HOUR, HOUR))
def test_d8_a_reading_from_before_a_plan_is_no_earlier_than_what_was_told(early, step) -> None:
    plan = PLAN.following(Reading(HOUR, WALL + HOUR + step))
    assert plan.clock(HOUR - early) == WALL + HOUR - 1_000 - early


# -- a process that opens the file


@pytest.mark.parametrize("boot", ["boot", ""])
def test_d8_processes_of_one_boot_share_the_clock(boot) -> None:
    plan = PLAN._replace(boot=boot, mark=WALL + 2_000)
    assert plan.adopted(boot, Reading(4_000, WALL + 3_000)) is plan
    assert plan.adopted(boot, Reading(4_000, WALL + 3_500)).clock(4_000) == WALL + 3_000


def test_d8_another_boot_begins_anew() -> None:
    plan = PLAN._replace(mark=WALL + 9_000)
    assert plan.adopted("next", Reading(10, WALL + HOUR)) == first_plan(
        1, "next", Reading(10, WALL + HOUR), WALL + 9_000
    )


@pytest.mark.parametrize("boot", ["boot", ""])
def test_d8_clocks_that_began_again_are_another_boot(boot) -> None:
    """Machines restored from a snapshot keep the name of their boot, others have none."""
    plan = PLAN._replace(boot=boot, mark=WALL + HOUR)
    adopted = plan.adopted(boot, Reading(10, WALL + 2 * HOUR))
    assert adopted.clock(10) == WALL + 2 * HOUR
    assert plan.adopted(boot, Reading(10, WALL)).clock(10) == WALL + HOUR


def test_d8_where_boots_have_no_name_lost_time_tells_them_apart() -> None:
    plan = PLAN._replace(boot="")
    adopted = plan.adopted("", Reading(2_000, WALL + HOUR))
    assert adopted.clock(2_000) == WALL + HOUR
    assert PLAN.adopted("boot", Reading(2_000, WALL + HOUR)).clock(2_000) == WALL + 1_000


# -- the machine's clocks


def test_d8_the_machines_clocks_are_read() -> None:
    first, second = _clock.read_clocks(), _clock.read_clocks()
    assert first.ticks <= second.ticks <= _clock.ticks()
    assert abs(first.wall - time.time() * 1000) < 60_000


@pytest.mark.parametrize(("content", "name"), [(b"0f3a-1\n", "0f3a-1"), (b"", ""), (b"\xff", ""), (None, "")])
def test_d8_a_boot_has_the_name_the_system_gives_it(tmp_path, monkeypatch, content, name) -> None:
    file = tmp_path / "boot_id"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setattr(_clock, "_BOOT_ID", str(file))
    assert _clock.boot_id() == name


# -- in a store


class Clocks:
    """The machine's clocks, in a test's hands."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ticks, self.wall, self.boot = 1_000, WALL, "boot"
        for module in (_exchange, _file, _backend):
            monkeypatch.setattr(module, "read_clocks", lambda: Reading(self.ticks, self.wall))
        monkeypatch.setattr(_exchange, "ticks", lambda: self.ticks)
        monkeypatch.setattr(_file, "boot_id", lambda: self.boot)
        monkeypatch.setattr(_exchange, "_FOLLOW_SECONDS", 0.0)

    def pass_by(self, ms: int, step: int = 0) -> None:
        self.ticks += ms
        self.wall += ms + step


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks(monkeypatch)


def test_d8_all_processes_read_one_clock_whatever_steps_they_see(clocks, sqlite) -> None:
    for step in (HOUR, -HOUR, 0, 30):
        clocks.pass_by(500, step)
        handle = sqlite.again()
        told = [handle.ask().clock, sqlite.ask().clock, handle.backend.health().clock, sqlite.ask().clock]
        assert len(set(told)) == 1
        assert abs(told[0] - WALL - clocks.ticks + 1_000) <= 100


def test_d8_a_step_is_followed_and_said(clocks, sqlite) -> None:
    for step, side in ((HOUR, "3600.0 s ahead of"), (-2 * HOUR, "3601.0 s behind")):
        clocks.pass_by(0, step)
        sqlite.ask()
        (warning,) = sqlite.backend.health().warnings
        assert f"the wall clock is {side}" in warning
        before = sqlite.ask().clock
        clocks.pass_by(60_000)
        assert sqlite.ask().clock == before + 60_000 + (1_000 if step > 0 else -1_000)


def test_d8_a_new_boot_is_not_behind_the_commits_of_the_last(clocks, sqlite) -> None:
    clocks.pass_by(5_000)
    sqlite.create("a")
    told = sqlite.ask().clock
    sqlite.backend.close()
    clocks.boot, clocks.ticks, clocks.wall = "next", 50, WALL - HOUR
    again = sqlite.again()
    assert told <= again.ask().clock <= told + MARK_AHEAD_MS
    assert again.load("a") is not None


@pytest.mark.usefixtures("clocks")
def test_r5_a_write_at_its_deadline_is_in_time(sqlite) -> None:
    now = sqlite.ask().clock
    assert refusal(sqlite, not_after=now - 1).transient
    assert sqlite.ask(Write(sqlite.key("new"), None, sqlite.row("new")), not_after=now).outcomes == (
        Committed(),
    )


def test_d8_two_machines_cannot_have_it_open(clocks, sqlite) -> None:
    clocks.boot = "another"
    sqlite.again()
    with pytest.raises(StoreError, match="another machine has opened it"):
        sqlite.load("a")


def test_d8_only_one_commit_a_second_moves_the_mark(clocks, sqlite, path) -> None:
    marks = []
    for n in range(8):
        clocks.pass_by(MARK_AHEAD_MS // 4)
        sqlite.create(f"{n}")
        with raw(path) as connection:
            marks += connection.execute("SELECT mark FROM clock").fetchone()
        assert marks[-1] >= sqlite.ask().clock
    assert len(set(marks)) == 2


def test_the_mark_is_moved_by_few_commits(sqlite) -> None:
    """It is written so far ahead that most find it there."""
    connection = sqlite.backend._exchanger._connection
    changes = []
    for n in range(10):
        before = connection.total_changes
        sqlite.create(f"{n}")
        changes.append(connection.total_changes - before)
    assert min(changes) == 1, "the row, and nothing else"
