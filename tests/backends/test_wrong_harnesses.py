"""A harness that is wrong is told so, by the first check and by that alone: the others would mislead."""

from __future__ import annotations

from typing import Any

import pytest
from durable_jobs_conformance import Harness, Store, certify
from durable_jobs_memory import MemoryBackend
from support.wrong_backends import Rows


class NothingWritten(Store):
    pass


class OneHandle(Rows):
    def open(self) -> MemoryBackend:
        return vars(self).setdefault("only", super().open())


class NoBackend(Store):
    def open(self) -> Any:
        return {}


class Raises(Store):
    def open(self) -> Any:
        raise ConnectionRefusedError("nobody listens")


class Undamaged(Rows):
    damage = Store.damage


def lanes(count: Any, lane: Any = 0) -> type[Rows]:
    class Handle(MemoryBackend):
        lanes = count

        def lane(self, key: Any) -> Any:
            return lane

    return lambda: Rows(handle=Handle)  # type: ignore[return-value]


def shared() -> Any:
    store = Rows()

    class Sharing(Rows):
        def __init__(self) -> None:
            super().__init__()
            self.rows = store.rows

    return Sharing


_ONE = Rows()
CASES: list[tuple[str, Any, frozenset[Any], str, str]] = [
    ("no store", lambda: 5, frozenset(), "a Store of fresh()", "5"),
    ("no open", NothingWritten, frozenset(), "NothingWritten.open, which is to be written", "that of Store"),
    ("no damage", Undamaged, frozenset({"damage"}), "Undamaged.damage, which is to be written", ""),
    ("one handle", OneHandle, frozenset(), "another handle of each open()", "the same one"),
    ("no backend", NoBackend, frozenset(), "a backend of open(), with lane, exchange", "{} without ['lane'"),
    ("raises", Raises, frozenset(), "no exception", "ConnectionRefusedError: nobody listens"),
    ("no lanes", lanes(0), frozenset(), "lanes: a number from 1", "0"),
    ("another lane", lanes(2, 2), frozenset(), "lane(task:mail:a): a number from 0, below 2", "2"),
    ("not fresh", shared(), frozenset(), "None", "Row(key=Key(kind='task', job='mail', id='a')"),
    ("one store", lambda: _ONE, frozenset(), "another Store of each fresh()", "the same one"),
]


@pytest.mark.parametrize(
    ("fresh", "can", "expected", "got"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_a_wrong_harness_is_told_and_nothing_else(fresh: Any, can: Any, expected: str, got: str) -> None:
    report = certify(Harness("wrong", fresh, can))

    (failed,) = report.failed
    assert (report.level, report.checks, failed.rule) == ("none", 1, "harness")
    assert f"expected  {expected}" in str(failed.why)
    assert f"got       {got}" in str(failed.why)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("", Rows), "Harness.name: expected words, got ''"),
        (("one", Rows()), "Harness.fresh: expected a function that makes a Store, got <"),
        (
            ("one", Rows, "durable"),
            "Harness.can: expected a set of durable, damage, or of some of them, got 'du",
        ),
        (("one", Rows, {"durability"}), "Harness.can: expected a set of durable, damage, or of some of them"),
    ],
)
def test_a_harness_of_wrong_parts_is_refused_where_it_is_written(arguments: Any, expected: str) -> None:
    with pytest.raises(TypeError) as caught:
        Harness(*arguments)

    assert str(caught.value).startswith(expected)
