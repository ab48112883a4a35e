"""The code of the guides runs as it stands, and what they quote of the examples is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDES = ("test-your-handlers", "write-a-driver")


def blocks(guide: str) -> list[tuple[str, str]]:
    """The Python of a guide: the file that the first line names, and the code."""
    text = (ROOT / "docs" / f"{guide}.md").read_text()
    return re.findall(r"```python\n# (\S+)\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("guide", GUIDES)
def test_what_a_guide_quotes_is_in_the_example(guide: str) -> None:
    quoted = [(name, code) for name, code in blocks(guide) if (ROOT / name).exists()]

    assert quoted
    assert [code for name, code in quoted if code.strip("\n") not in (ROOT / name).read_text()] == []


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("test_mine.py", "1 passed"),
        ("test_seeds.py", "1 passed"),
        ("test_machine.py", "when='a hook has ended'"),
    ],
)
def test_the_tests_of_the_guide_end_as_it_says(name: str, says: str, tmp_path: Path) -> None:
    (code,) = (code for file, code in blocks("test-your-handlers") if file == name)
    (tmp_path / name).write_text(code)

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", f"--rootdir={tmp_path}", name],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT / "examples")},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert says in done.stdout, done.stdout + done.stderr
