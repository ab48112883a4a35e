"""What guides show of a terminal, and its shape."""

from __future__ import annotations

import re

from support.scripts import ROOT


def shown(guide: str, command: str) -> list[str]:
    """The lines under a command of a guide."""
    text = (ROOT / "docs" / f"{guide}.md").read_text()
    blocks = re.findall(r"```console\n\$ python -m ([^\n]*)\n(.*?)```", text, re.DOTALL)
    (lines,) = (lines for said, lines in blocks if said == command)
    return [line for line in lines.splitlines() if line.strip() != "…"]


def shape(line: str) -> str:
    """A line without its figures, up to where the guide cut it."""
    return re.sub(r"\d+", "0", re.sub(r"digest \w+", "digest", line)).split("…")[0].strip()
