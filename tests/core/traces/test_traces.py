"""Golden transcripts: whole stories of one instance, each in a text file.

A file has what it tells about, the definition, and commands (`> start 0`, see `support.script`), each
followed by what came of it. `--rewrite-traces` writes that anew.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from support.script import Script

TRACES = sorted(Path(__file__).parent.glob("*/*.txt"))


def replayed(text: str) -> str:
    """The transcript of the commands in `text`."""
    head, *commands = text.split("\n> ")
    job = head.splitlines()[-1]
    script = Script(job)
    lines = [head.rstrip()]
    for command in commands:
        line = command.splitlines()[0]
        lines += ["", f"> {line}", *(f"  {came}" for came in script.run(line))]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("path", TRACES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_story_is_told_as_it_was(path: Path, request: pytest.FixtureRequest) -> None:
    text = path.read_text()

    told = replayed(text)

    if request.config.getoption("--rewrite-traces", default=False):
        path.write_text(told)
    else:
        assert told == text
