"""A program that is killed with SIGKILL again and again, and in the end left to finish."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

ROOT = Path(__file__).parents[2]
FINISH_SECONDS = 90
BUSY_SECONDS = 20


def command(example: str, **options: object) -> list[str]:
    """The command of an example; `flush_after=1` is `--flush-after 1`."""
    pairs = [(f"--{name.replace('_', '-')}", str(value)) for name, value in options.items()]
    return [sys.executable, str(ROOT / "examples" / example), *(word for pair in pairs for word in pair)]


def finish(arguments: Sequence[str], *, expected: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=FINISH_SECONDS, check=False)
    assert done.returncode == expected, done.stdout + done.stderr
    return done


def kill_often(
    arguments: Sequence[str],
    *,
    kills: int,
    random: Random,
    busy: threading.Event,
    killed: Callable[[], None] = lambda: None,
) -> None:
    """Start a program `kills` times and kill it each time, always while it is running.

    By turns at a random instant, and at the moment `busy` is set: by a server that has just been asked
    for something, so that the program dies between an effect and its commit.
    """
    for round_ in range(kills):
        busy.clear()
        with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            try:
                if round_ % 2:
                    busy.wait(BUSY_SECONDS)  # however long a loaded machine takes to start it
                else:
                    process.wait(random.uniform(0.1, 1.2))
            except subprocess.TimeoutExpired:
                pass  # as it should
            ended = process.poll()
            process.kill()
            _, said = process.communicate()
            assert ended is None, f"it ended by itself with {ended}: {said.decode()}"
        killed()
