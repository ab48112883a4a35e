"""A campaign: rounds of a process that is killed, on one file, with a check after each.

    python -m crash.rounds FOLDER SEED ROUNDS

is one by itself. The seed decides when the process is killed, under which driver it runs, and what the
client and the hooks do; what the machine adds to that, it does not.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from attrs import define, field
from crash.checker import Violation, check
from crash.history import History
from crash.log import Log, read
from crash.sights import sights
from crash.store import look

TESTS = Path(__file__).parents[1]
CALM_SECONDS = 60.0
LONGEST = 0.8


@define
class Report:
    """What a campaign has come to: rounds, what was counted, what was seen, and every violation."""

    seed: int
    rounds: int = 0
    requests: int = 0
    attempts: int = 0
    seen: Counter[str] = field(factory=Counter)
    violations: list[Violation] = field(factory=list)

    def add(self, other: Report, rounds: int) -> None:
        """Count another campaign in; the next one has another seed."""
        self.seed += 1
        self.rounds += rounds
        self.requests += other.requests
        self.attempts += other.attempts
        self.seen += other.seen

    def __str__(self) -> str:
        head = f"{self.rounds} rounds, {self.requests} requests, {self.attempts} attempts"
        seen = [f"  {count:7} {name}" for name, count in self.seen.items()]
        return "\n".join([head, *seen, *(f"  {violation}" for violation in self.violations)])


def campaign(
    folder: Path, seed: int, rounds: int, told: Callable[[Report], None] = lambda report: None
) -> Report:
    """Kill `rounds` processes, then let a last one come to rest; stops at the first violation."""
    report = Report(seed)
    for round in range(1, rounds + 2):
        chance = random.Random(f"{seed} {round}")
        calm = round > rounds
        failed = _perform(folder, chance, seed, round, calm)
        history = History.of(read(folder / "log"))
        report.violations = failed + check(history, look(folder), calm=calm)
        report.rounds, report.requests = round, len(history.requests)
        report.attempts, report.seen = len(history.attempts), sights(history)
        told(report)
        if report.violations:
            break
    return report


def _perform(folder: Path, chance: random.Random, seed: int, round: int, calm: bool) -> list[Violation]:
    """One round; what its process did that no process should do."""
    driver = chance.choice(("trio", "asyncio"))
    arguments = [str(folder), "--driver", driver, "--round", str(round), "--seed", f"{seed} {round}"]
    command = [sys.executable, "-m", "crash.child", *arguments, *(["--calm"] if calm else [])]
    began = time.monotonic()
    with (
        (folder / "stderr").open("wb") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=environment()) as child,
    ):
        assert child.stdout is not None
        delay = chance.uniform(0, LONGEST)
        if calm:
            child.wait(CALM_SECONDS)
        else:
            if chance.random() < 0.85:
                child.stdout.readline()
            time.sleep(delay)  # now and then counted from the start, so that it is killed while it opens
            child.kill()
    if child.returncode != (0 if calm else -signal.SIGKILL):
        end = (folder / "stderr").read_text(errors="replace")[-3_000:]
        return [Violation("process", "-", f"round {round} ended by itself: {child.returncode}\n{end}")]
    log = Log(folder / "log", round)
    log.write("killed", seconds=time.monotonic() - began)
    log.close()
    return []


def environment() -> dict[str, str]:
    """The environment of a child that imports from the folder of the tests."""
    paths = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


if __name__ == "__main__":
    found = campaign(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    print(found)
    sys.exit(1 if found.violations else 0)
