"""The wall clock is stepped under running workers: no one notices (D-8)."""

from __future__ import annotations

import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from support.children import Child, Spawn
from support.clock_worker import IDS, LEASE_MS, PULSE_MS

WORKER = "import runpy; runpy.run_module('support.clock_worker', run_name='__main__')"
WALL = "import time; print(time.time(), time.clock_gettime(time.CLOCK_BOOTTIME), time.monotonic())"


@pytest.fixture
def step(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """Steps the wall clock of the processes with these variables, from now on, by so many seconds."""
    package = find_spec("libfaketime")
    assert package is not None
    assert package.origin is not None
    file = tmp_path / "faketime"
    library = Path(package.origin).parent / "vendor/libfaketime/src/libfaketime.so.1"
    assert library.exists()
    variables = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }

    def set(seconds: str) -> dict[str, str]:
        new = file.with_suffix(".new")
        new.write_text(seconds)
        new.replace(file)
        return variables

    return set


@pytest.mark.parametrize("seconds", [3600, -3600])
def test_d8_the_steps_are_of_the_wall_clock_alone(step, spawn: Spawn, seconds) -> None:
    wall, boot, monotonic = map(float, spawn(WALL, **step(f"{seconds:+}")).hear().split())
    assert abs(wall - time.time() - seconds) < 60
    assert abs(boot - time.clock_gettime(time.CLOCK_BOOTTIME)) < 60
    assert abs(monotonic - time.monotonic()) < 60


class Account:
    """What workers have said: who ran which run of which instance, and how.

    An engine's clock is behind the store's by an exchange at most, and its durations are short by as much;
    a step would make them short by all.
    """

    def __init__(self) -> None:
        self._lines: queue.Queue[list[str]] = queue.Queue()
        self._threads: dict[Child, threading.Thread] = {}
        self.runs: defaultdict[str, list[int]] = defaultdict(list)
        self.ended: defaultdict[str, int] = defaultdict(int)
        self.processes: set[str] = set()
        self.ready = 0

    def listen(self, child: Child) -> None:
        """Hear what a worker says until it ends."""

        def pump() -> None:
            while line := child.hear():
                self._lines.put(line.split())

        self._threads[child] = threading.Thread(target=pump, daemon=True)
        self._threads[child].start()

    def hang_up(self, child: Child) -> None:
        """Wait until a worker has nothing more to say, and take it; then it may be closed."""
        self._threads[child].join()
        self.until(self._lines.empty)

    def until(self, fits: Callable[[], bool]) -> None:
        """Take what is said, and judge it, until something is so."""
        while not fits():
            self._take(self._lines.get(timeout=30))

    def further(self, ids: list[str], runs: int) -> None:
        """Until each of these has so many more runs: nothing stalls."""
        goals = {id: self.ended[id] + runs for id in ids}
        self.until(lambda: all(self.ended[id] >= goal for id, goal in goals.items()))

    def _take(self, words: list[str]) -> None:
        if words == ["ready"]:
            self.ready += 1
            return
        id, number, process, attempt, crashes, what = words
        assert (attempt, crashes) == ("1", "0"), "a live lease was taken over"
        if what == "end":
            self.ended[id] += 1
            return
        assert self.ended[id] == len(self.runs[id]) == int(number), "it ran twice, or twice at once"
        assert number == "0" or int(what) > PULSE_MS / 2, "it ran early"
        self.runs[id].append(int(number))
        self.processes.add(process)


def test_d8_a_step_of_the_wall_clock_starts_nothing_early_twice_or_never(step, spawn: Spawn, path) -> None:
    others = [id for id in IDS if id != "long"]
    account = Account()
    url = f"sqlite:///{path}"

    first = spawn(WORKER, "asyncio", url, **step("+0"))
    account.listen(first)
    account.until(lambda: len(account.runs["long"]) == 1)
    account.further(others, 1)

    variables = step("+3600")
    second = spawn(WORKER, "trio", url, **variables)
    account.listen(second)
    account.until(lambda: account.ready == 2)
    account.further(others, 2)
    step("-3600")
    account.further(others, 2)
    assert 4 * PULSE_MS > LEASE_MS
    assert account.runs["long"] == [0], "its lease is renewed"
    first.tell()
    account.further(IDS, 1)
    first.tell()
    account.hang_up(first)
    first.end()
    account.further(IDS, 1)  # the other goes on, if it has not done all of it before

    second.tell()
    second.tell()
    account.hang_up(second)
    second.end()
    assert len(account.processes) == 2
