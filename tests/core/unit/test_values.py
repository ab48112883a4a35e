"""Plain values: frozen under `python -X dev`, made faster without, the same in all else."""

from __future__ import annotations

import runpy
import sys
from types import SimpleNamespace
from typing import Any

import attrs
import pytest

from durable_jobs_core import _values


def decorator(monkeypatch: pytest.MonkeyPatch, *, dev_mode: bool) -> Any:
    flags = {name: getattr(sys.flags, name) for name in dir(sys.flags) if not name.startswith("_")}
    with monkeypatch.context() as patch:
        patch.setattr(sys, "flags", SimpleNamespace(**{**flags, "dev_mode": dev_mode}))
        return runpy.run_path(_values.__file__)["value"]


@pytest.mark.parametrize("dev_mode", [True, False])
def test_a_value_is_equal_by_its_fields_and_can_be_a_key(
    monkeypatch: pytest.MonkeyPatch, dev_mode: bool
) -> None:
    @decorator(monkeypatch, dev_mode=dev_mode)
    class Point:
        x: int

    make: Any = Point
    assert make(1) == make(1) != make(2)
    assert {make(1): "a"}[make(1)] == "a"
    assert attrs.evolve(make(1), x=2) == make(2)
    assert not hasattr(make(1), "__dict__")


def test_in_development_a_value_cannot_be_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    @decorator(monkeypatch, dev_mode=True)
    class Point:
        x: int

    make: Any = Point
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        make(1).x = 2


@pytest.mark.parametrize("slots", [True, False])
def test_evolve_makes_a_copy_with_changes_whether_there_are_slots_or_not(slots: bool) -> None:
    @_values.value(slots=slots)
    class Point:
        x: int
        y: int = 0

    point = Point(1, 2)

    assert _values.evolve(point, x=3) == Point(3, 2)
    assert point == Point(1, 2)
    with pytest.raises((TypeError, AssertionError)):
        _values.evolve(point, z=3)
