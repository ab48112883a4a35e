"""The code of the README runs as it stands, and its commands are there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(*arguments: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_code_of_the_readme_runs(tmp_path: Path) -> None:
    ((code, says),) = re.findall(
        r"```python\n(.*?)```\n\n```text\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL
    )
    script = tmp_path / "readme.py"
    script.write_text(code)

    output = run(str(script), cwd=tmp_path)

    assert re.fullmatch(re.escape(says).replace("…", ".*"), output), output
    assert (tmp_path / "jobs.db").exists()


def test_the_commands_of_the_readme_are_in_the_makefile() -> None:
    commands = re.findall(r"^make (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE)

    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert commands
    assert set(commands) <= set(targets)
