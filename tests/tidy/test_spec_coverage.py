"""Every sentence of the specification has a test that names it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("spec_coverage", ROOT / "scripts/spec_coverage.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_sentence_has_a_test_and_the_table_is_up_to_date() -> None:
    table, missing = load().render()

    assert missing == []
    assert (ROOT / "docs/spec-coverage.md").read_text() == table, "run `make docs`"
