"""The style of the project, as far as a machine can see it."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULE_LINES = 420
FUNCTION_LINES = 60


def tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return [path for name in listed.stdout.split() if (path := ROOT / name).exists()]


PRODUCT = [path for path in tracked("*.py") if not path.is_relative_to(ROOT / "tests")]


@pytest.mark.parametrize("path", PRODUCT, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_and_functions_keep_to_a_readable_size(path: Path) -> None:
    text = path.read_text()
    too_long = [
        f"{node.name} ({node.end_lineno - node.lineno + 1} lines)"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > FUNCTION_LINES
    ]

    assert len(text.splitlines()) <= MODULE_LINES
    assert too_long == []


def test_every_public_thing_of_the_product_says_what_it_means() -> None:
    silent: list[str] = []
    for path in PRODUCT:
        if not path.is_relative_to(ROOT / "durable_jobs_core"):
            continue
        tree = ast.parse(path.read_text())
        nodes: list[ast.AST] = [tree]
        nodes += [node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
        for node in nodes:
            name = getattr(node, "name", path.stem)
            assert isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            if not name.startswith("_") and ast.get_docstring(node) is None:
                silent.append(f"{path.relative_to(ROOT)}: {name}")

    assert silent == []


def test_nothing_is_left_to_do_in_a_comment() -> None:
    word = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")

    found = [path.name for path in tracked("*.py", "*.md") if word.search(path.read_text())]

    assert found == []


def test_S_64_nothing_is_pickled_or_evaluated() -> None:
    banned = re.compile(r"\b(pickle|marshal|shelve|eval\(|exec\()")

    found = [path.name for path in PRODUCT if banned.search(path.read_text())]

    assert found == []


def test_placeholders_of_sql_have_no_numbers() -> None:
    """Python 3.12.0 to 3.12.3 takes them for names, and warns at each statement."""
    numbered = re.compile(r"\?[1-9]")

    found = [
        path.name
        for path in tracked("backends/sqlite/**/*.py", "benchmarks/*.py")
        if numbered.search(path.read_text())
    ]

    assert found == []
