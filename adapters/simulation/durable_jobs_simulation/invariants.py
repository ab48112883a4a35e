"""What users assert, in invariants, watchers and scenarios: if it does not hold, that is a violation."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from pathlib import Path
from traceback import extract_tb
from typing import Any

from durable_jobs_simulation.tasks import SimulationError
from durable_jobs_simulation.violation import Violated

_NAMED = re.compile(r"([A-Z]-\d+): ")


def look(invariant: Callable[[Any], object], subject: Any) -> None:
    """Whether it holds of a simulation, or of a commit. Raises `Violated`, also if it raises something other
    than an assertion: it has not held, and the run is to be had again."""
    name = getattr(invariant, "__name__", "invariant")
    try:
        gave = invariant(subject)
    except AssertionError as error:
        raise violated(name, error) from error
    except (SimulationError, Violated):
        raise
    except Exception as error:
        raise Violated(name, f"it raised {_told(error)}") from error
    nothing_given(name, gave)


def violated(name: str, error: AssertionError) -> Violated:
    """What an assertion says in its first line: what test runners add is about their interpreter. It may
    begin with the name of what it checks, as in `I-1: it is lost`."""
    said = _first_line(error)
    named = _NAMED.match(said)
    return Violated(name, said) if named is None else Violated(named[1], said[named.end() :])


def nothing_given(name: str, gave: object) -> None:
    """Refuse what an invariant gives: an `async def` has not run, and nobody looks at a `False`."""
    if gave is None:
        return
    if isinstance(gave, Coroutine):
        gave.close()
    raise SimulationError(f"{name} gave {gave!r}: expected a plain function that asserts, and gives nothing")


def _told(error: Exception) -> str:
    """An error, and the line of the invariant that it came from."""
    _, *its = extract_tb(error.__traceback__)
    where = f" in line {its[0].lineno} of {Path(its[0].filename).name}" if its else ""
    return f"{type(error).__name__}{where}: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or ["it does not hold"])[0]
