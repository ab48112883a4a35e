"""Instructions of each operation, counted by valgrind: they repeat where seconds do not.

Operations run in one process with a fixed hash seed; what runs n times and then 2n times costs the difference
over n, so that what surrounds it does not count.
"""

from __future__ import annotations

import itertools
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TypeAlias

TOOLS = "valgrind", "vgdb"
TIMES = 10
Child: TypeAlias = "subprocess.Popen[str]"
Progress: TypeAlias = Callable[[int, int, str], None]
_TOTAL = re.compile(r"^(?:summary|totals): (\d+)$", re.MULTILINE)


def missing() -> str | None:
    """What is needed to count and is not at hand, if anything."""
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    return f"{' and '.join(absent)} not found" if absent else None


def build() -> str:
    """What the figures depend on besides our own code: the interpreter as it was built, and libraries."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("attrs", "cattrs"))
    return f"Python {sys.version} on {platform.machine()}, {' '.join(platform.libc_ver())}; {libraries}"


def count(progress: Progress, only: str = "") -> dict[str, int]:
    """Instructions of the operations whose names have `only` in them, by the name.

    `progress` is told which one it is, of how many, and its name.
    """
    with tempfile.TemporaryDirectory(prefix="micro-") as folder, _child(folder) as child:
        return dict(_figures(child, Path(folder), progress, only))


def _figures(child: Child, folder: Path, progress: Progress, only: str) -> Iterator[tuple[str, int]]:
    assert child.stdout is not None
    names: list[tuple[str, int]] = json.loads(child.stdout.readline())
    _tell(child, "instrumentation", "on")
    dumps = itertools.count(1)

    def counted(number: int, times: int) -> int:
        _order(child, number, times)
        _tell(child, "dump")  # begins anew at zero
        return _total(folder / f"out.{next(dumps)}")

    chosen = [(number, name, size) for number, (name, size) in enumerate(names) if only in name]
    for place, (number, name, size) in enumerate(chosen, 1):
        progress(place, len(chosen), name)
        times = max(1, TIMES // size)
        once, twice = counted(number, times), counted(number, 2 * times)
        yield name, (twice - once) // (times * size)


@contextmanager
def _child(folder: str) -> Iterator[Child]:
    watched = [
        "valgrind",
        "--tool=callgrind",
        "-q",
        "--instr-atstart=no",
        f"--callgrind-out-file={folder}/out",
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {"PYTHONHASHSEED": "0", "PYTHONPATH": str(Path(__file__).parents[2])}
    child = subprocess.Popen(
        [*watched, sys.executable, "-m", "benchmarks.micro.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def _order(child: Child, number: int, count: int) -> None:
    assert child.stdin is not None
    assert child.stdout is not None
    print(number, count, file=child.stdin, flush=True)
    answer = child.stdout.readline()
    assert answer == "done\n", f"expected 'done', came {answer!r}"


def _tell(child: Child, *words: str) -> None:
    subprocess.run(["vgdb", f"--pid={child.pid}", *words], check=True, capture_output=True)


def _total(dump: Path) -> int:
    found = _TOTAL.search(dump.read_text())
    assert found is not None, f"expected a line 'totals: n' in {dump}"
    dump.unlink()
    return int(found[1])
