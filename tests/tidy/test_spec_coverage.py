"""Every sentence of the specification has a test that names it."""

from __future__ import annotations

from support.scripts import ROOT, load


def test_every_sentence_has_a_test_and_the_table_is_up_to_date() -> None:
    table, missing = load("spec_coverage").render()

    assert missing == []
    assert (ROOT / "docs/spec-coverage.md").read_text() == table, "run `make docs`"
