"""What the guides show of a terminal is what comes: the same lines, but for figures that move."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SHOWN = [
    ("write-a-backend", "durable_jobs_conformance certify_file_backend:HARNESS"),
    ("test-your-handlers", "durable_jobs_simulation run charging:wrong"),
    ("test-your-handlers", "durable_jobs_simulation run charging:wrong --seed 157"),
]


def shown(guide: str, command: str) -> list[str]:
    """The lines under a command of a guide."""
    text = (ROOT / "docs" / f"{guide}.md").read_text()
    blocks = re.findall(r"```console\n\$ python -m ([^\n]*)\n(.*?)```", text, re.DOTALL)
    (lines,) = (lines for said, lines in blocks if said == command)
    return [line for line in lines.splitlines() if line.strip() != "…"]


def shape(line: str) -> str:
    """A line without its figures, up to where the guide cut it."""
    return re.sub(r"\d+", "0", re.sub(r"digest \w+", "digest", line)).split("…")[0].strip()


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
