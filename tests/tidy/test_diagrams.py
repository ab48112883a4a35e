"""The state diagrams are those of the tables."""

from __future__ import annotations

from support.scripts import ROOT, load


def test_the_state_diagrams_are_up_to_date() -> None:
    assert (ROOT / "docs/state-diagrams.md").read_text() == load("diagrams").render(), "run `make docs`"
