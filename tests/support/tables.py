"""Transition tables as text: situations, and what every event does in them.

    [waiting] continuous; start; succeed
    trigger         | running | lease | write, reply, call execute
    worker off; trigger | pending | now | write, reply

A heading is a situation: the phase, and the script (`support.script`) that leads to it. In a row under it
the last command is the event; after it the phase, the alarm (from now; `lease`: the end of a fresh one) and
the effects: `keep`, `write` or `delete`, then what follows the commit, in order.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from attrs import frozen
from support.script import Script, due, effects
from support.steps import Seen

TABLES = Path(__file__).parents[1] / "core" / "tables"


@frozen
class Row:
    """One row: where it is, the situation, the commands, and what is expected: phase, alarm, effects."""

    where: str
    phase: str
    setup: tuple[str, ...]
    commands: tuple[str, ...]
    expected: tuple[str, str, str]

    def run(self) -> tuple[tuple[str, str, str], list[Seen]]:
        """What comes of it, and the steps that the event took."""
        script = Script(self.setup[0])
        for command in self.setup[1:]:
            script.run(command)
        assert script.bench.phase == self.phase, f"{self.where}: the situation is as its heading says"
        for command in self.commands[:-1]:
            script.run(command)
        since = len(script.bench.seen)
        script.run(self.commands[-1])
        return (script.bench.phase, due(script), effects(script, since)), script.bench.seen[since:]


def rows(kind: str) -> Iterator[Row]:
    """The rows of a kind's table."""
    phase, setup = "", ("",)
    for number, line in enumerate((TABLES / f"{kind}.txt").read_text().splitlines(), start=1):
        if line.startswith("["):
            phase, _, text = line[1:].partition("] ")
            setup = _commands(text)
        elif line.strip() and not line.startswith("#"):
            commands, after, alarm, done = (part.strip() for part in line.split("|"))
            yield Row(f"{kind}.txt:{number}", phase, setup, _commands(commands), (after, alarm, done))


def _commands(text: str) -> tuple[str, ...]:
    return tuple(command.strip() for command in text.split(";"))
