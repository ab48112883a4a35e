"""A short storm on each driver; and a wrong account of one is noticed."""

from __future__ import annotations

import pytest
from soak.redis_proxy import Book, storm
from support.redis_servers import PROGRAMS, shared

FAULTS = 150


def test_D_6_S_3_each_event_is_applied_as_it_was_said_whatever_is_cut_or_comes_late(driver) -> None:
    result, proxy = storm(driver, shared(PROGRAMS[0]).port, seed=1, goal=FAULTS, runtimes=3)

    assert result.faults == []
    assert proxy.counts.total() - proxy.counts["fine"] >= FAULTS
    assert all(proxy.counts[fate] for fate in ("lost", "unanswered", "torn", "held", "slow"))
    assert result.counts["late"] >= FAULTS // 20
    assert result.counts["acknowledged"] > 100


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (["a", "b"], ""),
        (["a", "b", "c"], ""),
        (["a"], "acknowledged"),
        (["a", "a", "b"], "is not"),
        (["b", "a"], "is not"),
        (["a", "b", "d"], "nothing happened"),
        (["a", "b", "z"], "another life"),
    ],
)
def test_a_book_knows_what_is_wrong(found, says) -> None:
    book = Book(["a", "b", "c", "d"], {"a", "b"}, {"d"})
    faults = list(book.faults(found))
    assert (says in faults[0]) if says else (faults == [])
