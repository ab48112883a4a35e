"""The code of the README runs as it stands, and the examples do what they say."""

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
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    script = tmp_path / "readme.py"
    script.write_text(code)

    output = run(str(script), cwd=tmp_path)

    assert "outcome='succeeded'" in output
    assert "access for rt" in output
    assert (tmp_path / "jobs.db").exists()


def test_the_commands_of_the_readme_are_in_the_makefile() -> None:
    commands = re.findall(r"^make (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE)

    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert commands
    assert set(commands) <= set(targets)


def test_a_custom_runtime_takes_less_than_sixty_lines_and_runs(tmp_path: Path) -> None:
    example = ROOT / "examples/custom_runtime.py"
    text = example.read_text()
    driver = text[text.index("class Runtime") : text.index("numbers = ")]

    output = run(str(example), cwd=tmp_path)

    assert len(driver.strip().splitlines()) < 60
    assert not re.search(r"^(import|from) (asyncio|trio)", text, re.MULTILINE)
    assert "run 3" in output
    assert "terminated=True" in output
