"""What the guides show of a terminal is what comes: the same lines, but for figures that move.

That of `write-a-backend` is compared in `tests/examples/test_outside_backend.py`, which runs it anyway.
"""

from __future__ import annotations

import subprocess
import sys

import pytest
from support.consoles import shape, shown
from support.scripts import ROOT

EXAMPLES = ROOT / "examples"
SHOWN = [
    ("test-your-handlers", "durable_jobs_simulation run charging:wrong"),
    ("test-your-handlers", "durable_jobs_simulation run charging:wrong --seed 157"),
]


@pytest.mark.parametrize(("guide", "command"), SHOWN)
def test_the_lines_that_a_guide_shows_come_in_that_order(guide: str, command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-u", "-m", *command.split()],
        cwd=EXAMPLES,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
    )

    said = iter([shape(line) for line in done.stdout.splitlines()])
    wanted = [shape(line) for line in shown(guide, command)]
    assert wanted
    missing = [line for line in wanted if not any(came.startswith(line) for came in said)]
    assert missing == []
