"""A backend of somebody else: in a folder of its own outside the workspace, met by the public door alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from support.consoles import shape, shown
from support.killing import ROOT

FILES = ("file_backend.py", "certify_file_backend.py")
RIGHT = "if entry > claim.now or"
PLANTED = "if entry >= claim.now or"


def certified(folder: Path) -> tuple[Any, str]:
    """What the command says of the backend in a folder: its JSON, and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "durable_jobs_conformance", "certify_file_backend", "--json", "report.json"],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (folder / "report.json").exists(), done.stderr
    return json.loads((folder / "report.json").read_text())["backends"]["files"], done.stdout


def project(folder: Path) -> Path:
    """The backend of the guide, copied there."""
    for name in FILES:
        shutil.copy(ROOT / "examples" / name, folder)
    return folder


def test_R_1_a_backend_outside_the_workspace_reaches_its_level(tmp_path: Path) -> None:
    report, printed = certified(project(tmp_path))

    assert report["level"] == "durable", printed
    assert report["failed"] == []
    wanted = shown("write-a-backend", "durable_jobs_conformance certify_file_backend:HARNESS")
    assert [shape(line) for line in printed.splitlines()] == [shape(line) for line in wanted]


def test_R_7_a_bug_planted_in_it_is_found_and_explained(tmp_path: Path) -> None:
    backend = project(tmp_path) / "file_backend.py"
    text = backend.read_text()
    assert text.count(RIGHT) == 1
    backend.write_text(text.replace(RIGHT, PLANTED))
    shown = tmp_path / "certify_file_backend.py"
    shown.write_text(shown.read_text().replace('{"durable"}', ""))  # it fails sooner

    report, printed = certified(tmp_path)

    assert report["level"] == "none"
    failed = {found["check"]: found["why"] for found in report["failed"]}
    why = failed["an_entry_is_due_at_its_instant_and_not_before"]
    assert "due at 10, hold until 1010" in why
    assert "expected  ['a']" in why
    assert "got       []" in why
    assert why in printed
