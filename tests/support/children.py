"""Processes of a test's own: each runs a script, and talks with the test by lines."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

TESTS = Path(__file__).parents[1]

Spawn = Callable[..., "Child"]


class Child:
    """A Python process that runs `script`. `env`: variables on top of this process's."""

    def __init__(self, script: str, *args: object, **env: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", script, *map(str, args)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(TESTS), **env},
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout

    def hear(self) -> str:
        """The next line it says; empty at its end."""
        return self._stdout.readline().rstrip("\n")

    def tell(self, line: str = "") -> None:
        """A line for it."""
        print(line, file=self._stdin, flush=True)

    def kill(self) -> list[str]:
        """SIGKILL; the lines it had said and that were not heard, the last one if it is whole."""
        self._process.kill()
        rest = self._stdout.read()
        self._close()
        return rest.split("\n")[:-1]

    def end(self) -> list[str]:
        """Wait for its end, which must be a good one; the lines that were not heard."""
        rest = self._stdout.read()
        self._close()
        assert self._process.returncode == 0
        return rest.split("\n")[:-1]

    def _close(self) -> None:
        self._process.wait()
        self._stdin.close()
        self._stdout.close()
