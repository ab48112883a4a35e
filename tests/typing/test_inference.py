"""A wrong input type, a wrong kind or an unknown job is a static error when the definition is passed.

Both checkers read `cases.py` once, and must find an error on each line that is marked, and on no other.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

CASES = Path(__file__).with_name("cases.py")
ROOT = Path(__file__).parents[2]
COMMANDS = {
    "mypy": ["-m", "mypy", "--strict", "--no-error-summary", str(CASES)],
    "pyright": ["-m", "pyright", "--outputjson", "--pythonpath", sys.executable, str(CASES)],
}
Found = dict[int, str]
"""What a checker said, by line."""


def mypy_errors(output: str) -> Found:
    said = re.findall(rf"^.*{CASES.name}:(\d+): error: (.*)$", output, re.MULTILINE)
    return {int(line): text for line, text in said}


def pyright_errors(output: str) -> Found:
    said = json.loads(output)["generalDiagnostics"]
    return {one["range"]["start"]["line"] + 1: one["message"] for one in said if one["severity"] == "error"}


READERS = {"mypy": mypy_errors, "pyright": pyright_errors}


@pytest.fixture(scope="module")
def outputs() -> dict[str, str]:
    """What both said, run side by side."""
    started = {
        name: subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for name, command in COMMANDS.items()
    }
    return {name: process.communicate()[0] for name, process in started.items()}


@pytest.mark.parametrize("checker", COMMANDS)
def test_a_wrong_type_kind_or_job_is_a_static_error_and_right_code_has_none(
    outputs: dict[str, str], checker: str
) -> None:
    lines = CASES.read_text().splitlines()
    marked = {number for number, line in enumerate(lines, 1) if "# expect-error" in line}

    found = READERS[checker](outputs[checker])

    assert len(marked) > 40
    assert {line: text for line, text in found.items() if line not in marked} == {}
    assert {line: lines[line - 1].strip() for line in marked - found.keys()} == {}
