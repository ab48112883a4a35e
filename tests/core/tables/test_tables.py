"""Each kind's table of transitions, in rows: every cell, and every phase a cell names."""

from __future__ import annotations

from functools import cache

import pytest
from support.steps import Seen
from support.tables import Row, rows

from durable_jobs_core.kinds import KINDS
from durable_jobs_core.words import Kind

ROWS = [row for kind in KINDS for row in rows(kind)]


@cache
def outcome(row: Row) -> tuple[tuple[str, str, str], list[Seen]]:
    return row.run()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.where)
def test_S_2_S_4_a_row_has_the_phase_the_alarm_and_the_effects_it_names(row: Row) -> None:
    came, _ = outcome(row)

    assert came == row.expected


@pytest.mark.parametrize("kind", KINDS)
def test_every_cell_has_a_row_and_every_phase_it_names_is_reached_by_one(kind: Kind) -> None:
    named = {
        (event.__name__, before.value, after.value)
        for event, cells in KINDS[kind].table.items()
        for before, cell in cells.items()
        for after in cell.to
    }

    reached = {
        (seen.event.__name__, seen.before, seen.after) for row in rows(kind) for seen in outcome(row)[1]
    }

    assert reached == named


@pytest.mark.parametrize("kind", KINDS)
def test_every_event_of_a_table_has_an_answer_in_every_phase(kind: Kind) -> None:
    rules = KINDS[kind]
    phases = set(type(rules.phase_of(None)))

    assert [event for event, cells in rules.table.items() if cells.keys() != phases] == []
