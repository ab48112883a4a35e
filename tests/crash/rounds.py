"""A campaign: rounds of processes that are killed, on one file, with a check after each.

    python -m crash.rounds FOLDER SEED ROUNDS

is one by itself. The seed decides how and when a round ends, the drivers, and what the client and the hooks
do; what the machine adds to that, it does not.
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
from crash.case import Violation
from crash.checker import check
from crash.history import History
from crash.log import Log, read
from crash.sights import sights
from crash.store import look

TESTS = Path(__file__).parents[1]
PATIENCE_SECONDS = 60.0

LONGEST, TAKE_OVER, STOPPING = 0.8, 1.6, 0.1
"""Seconds: of a round, of a worker after the client was killed, of a shutdown that is not waited for."""

STALLED = 1.1, 1.8
"""Seconds: longer than a lease."""

ENDINGS = {"killed": 14, "outlived": 2, "stalled": 2, "stopped": 1, "stopping": 2}
"""How a round ends, and how often: killed; killed while a second process goes on; stopped for longer than
its leases, woken, and killed; told to stop; told to stop, and killed while it does."""


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
        ran = Round(folder, chance, seed, round)
        ran.perform("calm" if calm else chance.choices([*ENDINGS], [*ENDINGS.values()])[0])
        history = History.of(read(folder / "log"))
        report.violations = ran.failures + check(history, look(folder), calm=calm)
        report.rounds, report.requests = round, len(history.requests)
        report.attempts, report.seen = len(history.attempts), sights(history)
        told(report)
        if report.violations:
            break
    return report


@define
class Round:
    """One round: its processes, and what they did that no process should do."""

    folder: Path
    chance: random.Random
    seed: int
    number: int
    failures: list[Violation] = field(factory=list)

    def perform(self, ending: str) -> None:
        """Let it begin, and end in one of the `ENDINGS`, or calmly."""
        client = self._begin("calm" if ending == "calm" else "client")
        others = [self._begin("worker")] if ending in ("outlived", "stalled") else []
        assert client.stdout is not None
        if ending == "calm":
            self._end(client, 0)
        else:
            if ending != "killed" or self.chance.random() < 0.85:
                client.stdout.readline()  # else it may be killed while it opens the file
            time.sleep(self.chance.uniform(0, LONGEST))
            if ending == "stalled":
                self._stall(client)
            self._signal(client, ending)
        for other in others:
            time.sleep(self.chance.uniform(0, TAKE_OVER))
            self._signal(other, "killed")
        log = Log(self.folder / "log", self.number)
        log.write("stopped" if client.returncode == 0 else "killed", how=ending)
        log.close()

    def _begin(self, role: str) -> subprocess.Popen[bytes]:
        arguments = ["--role", role, "--driver", self.chance.choice(("trio", "asyncio"))]
        arguments += ["--round", str(self.number), "--seed", f"{self.seed} {self.number}"]
        command = [sys.executable, "-m", "crash.child", str(self.folder), *arguments]
        with self._errors(role).open("wb") as errors:
            return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=environment())

    def _stall(self, child: subprocess.Popen[bytes]) -> None:
        child.send_signal(signal.SIGSTOP)
        time.sleep(self.chance.uniform(*STALLED))
        child.send_signal(signal.SIGCONT)
        time.sleep(self.chance.uniform(0, LONGEST / 2))

    def _signal(self, child: subprocess.Popen[bytes], ending: str) -> None:
        if ending in ("stopped", "stopping"):
            child.terminate()
            if ending == "stopping":
                time.sleep(self.chance.uniform(0, STOPPING))
                child.kill()
            self._end(child, 0, -signal.SIGTERM, -signal.SIGKILL)
        else:
            child.kill()
            self._end(child, -signal.SIGKILL)

    def _end(self, child: subprocess.Popen[bytes], *expected: int) -> None:
        try:
            code = child.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            code = child.wait()
        if child.stdout is not None:
            child.stdout.close()
        if code not in expected:
            said = "".join(path.read_text(errors="replace")[-3_000:] for path in self.folder.glob("stderr.*"))
            self.failures.append(Violation("process", "-", f"round {self.number} ended with {code}\n{said}"))

    def _errors(self, role: str) -> Path:
        return self.folder / f"stderr.{role}"


def environment() -> dict[str, str]:
    """The environment of a child that imports from the folder of the tests."""
    paths = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


if __name__ == "__main__":
    found = campaign(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    print(found)
    sys.exit(1 if found.violations else 0)
