"""Worker processes on one store, all of them killed at random: nothing is lost, and no history forks.

A campaign starts workers that run the jobs of `tests/crash`, and a process that makes requests. Every second
a worker is killed and another takes its place; every ten seconds the server is, or a node of a Cluster, and
is started again on its log. Then the log of all processes is held against what the server has, and a last
process has to bring everything to rest.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from itertools import pairwise
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol
from unittest.mock import patch

from attrs import define, field
from crash import checker
from crash.case import Case, Found
from crash.check_commits import lives_end_with_the_round
from crash.history import History
from crash.log import Line, Log, read
from crash.rounds import TESTS
from crash.store import Store
from durable_jobs_runtime import open_backend
from soak.chains import Chains, chains
from soak.member import LEASE_MS, NO_STORE, Member, keys_of

from durable_jobs_core.backend import Backend

WORKERS = 4
PART = 5_000
"""Runs of one campaign; then another begins on an empty store, with logs of its own."""

PATIENCE_SECONDS = 90.0
LOOK_SECONDS = 0.1
KILL_SECONDS = 1.0
SERVER_SECONDS = 10.0
STALL_SECONDS = 3 * LEASE_MS / 1000


class Server(Protocol):
    """What a fleet needs of a server; a cluster may be one, or a file that cannot be used for a while."""

    def kill(self) -> None:
        """SIGKILL."""

    def start(self) -> None:
        """Start it on its log, and wait until it answers."""


Cut = Callable[[], Callable[[], None]]
"""Called while the server runs; what it gives takes a killed server's log back to where it was then."""


@define
class Result:
    """What a campaign has come to. `runs`: attempts that returned; `chains`: of all commits."""

    runs: int = 0
    worker_kills: int = 0
    server_kills: int = 0
    moves: int = 0
    stalls: int = 0
    seconds: float = 0.0
    commits: int = 0
    lost: int = 0
    lost_keys: int = 0
    regressions: int = 0
    stale: int = 0
    faults: list[str] = field(factory=list)

    def add(self, other: Result) -> None:
        """Count another campaign in."""
        for name in ("runs", "worker_kills", "server_kills", "moves", "stalls", "seconds", "commits"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("lost", "lost_keys", "regressions", "stale", "faults"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def __str__(self) -> str:
        head = (
            f"{self.runs} runs, {self.commits} commits in {self.seconds:.0f} s; killed {self.worker_kills}"
            f" workers and the server {self.server_kills} times, moved {self.moves} slots, stalled"
            f" {self.stalls} workers; {self.stale} late completions refused; lost {self.lost} acknowledged"
            f" commits of {self.lost_keys} instances, {self.regressions} regressions reported"
        )
        return "\n".join([head, *(f"  {fault}" for fault in self.faults)])


@define
class Fleet:
    """One campaign. `url`: of the store; `look`: what is in it; `may_lose`: the server may lose the end of
    its log; `cut`: how it is made to lose more; `meanwhile`: called all the time, gives how many slots it has
    moved; `stalls`: a worker at a time is stopped for three lease lengths; `ids`: the instances of each job;
    `server_seconds`: between two kills of the server; of these, and of workers, there is at least one."""

    folder: Path
    server: Server
    url: str
    look: Callable[[Backend], Store]
    seed: int
    runs: int
    may_lose: bool = False
    cut: Cut | None = None
    meanwhile: Callable[[], int] = lambda: 0
    stalls: bool = False
    ids: str = "abcd"
    server_seconds: float = SERVER_SECONDS
    told: Callable[[Result], None] = lambda result: None
    result: Result = field(factory=Result)
    _rounds: int = 0
    _chance: random.Random = field(factory=random.Random)
    _log: Log = field(init=False)
    _writes: Log = field(init=False)
    _ended: bytes = b'"what": "ended"'
    _read_to: int = 0

    def campaign(self) -> Result:
        """From the first worker to the last check."""
        self._chance.seed(self.seed)
        self._log, self._writes = Log(self.folder / "log", 0), Log(self.folder / "writes", 0)
        began = time.monotonic()
        open_backend(self.url).close()  # the store is made before anything may be lost
        asker = self._begin("client")
        workers = [self._begin("worker") for _ in range(WORKERS)]
        try:
            self._disturb(workers)
            _send(asker, signal.SIGTERM)
            self._join(asker)
        finally:
            for process in (*workers, asker):
                _kill(process)
        self._check(calm=False)
        calm = self._begin("calm")
        try:
            self._join(calm)
        finally:
            _kill(calm)
        self._check(calm=True)
        self.result.seconds = time.monotonic() - began
        return self.result

    # -- processes

    def _begin(self, role: str) -> BaseProcess:
        self._rounds += 1
        member = Member(
            folder=self.folder,
            url=self.url,
            role=role,
            round=self._rounds,
            seed=f"{self.seed} {self._rounds}",
            keys=keys_of(self.ids),
        )
        process = _context().Process(target=member.work, daemon=True)
        process.start()
        return process

    def _join(self, process: BaseProcess) -> None:
        process.join(PATIENCE_SECONDS)
        if process.exitcode != 0:
            said = (self.folder / "stderr").read_text(errors="replace")[-3_000:]
            self.result.faults.append(f"a process ended with {process.exitcode}\n{said}")

    # -- trouble

    @property
    def _has_killed(self) -> bool:
        return self.result.worker_kills > 0 and self.result.server_kills > 0

    def _disturb(self, workers: list[BaseProcess]) -> None:
        """Until enough has been run: kill workers, stall one, kill the server."""
        kill_at = time.monotonic() + KILL_SECONDS
        server_at = time.monotonic() + self._chance.uniform(0.3, 1) * self.server_seconds
        stalled: tuple[BaseProcess, float] | None = None
        undo = self.cut() if self.cut else None
        runs, until = -1, 0.0
        while not (self._count() >= self.runs and self._has_killed) and not self.result.faults:
            time.sleep(LOOK_SECONDS)
            now = time.monotonic()
            self.result.moves += self.meanwhile()
            stalled = self._stall(workers, stalled, now) if self.stalls else None
            if now >= kill_at:
                kill_at = now + KILL_SECONDS
                self._replace(workers, stalled)
                self.told(self.result)
                undo = self.cut() if self.cut else None
            if now >= server_at:
                server_at = now + self.server_seconds
                self._kill_server(undo if self._chance.random() < 0.5 else None)
                undo = self.cut() if self.cut else None
            if runs != self.result.runs:
                runs, until = self.result.runs, now + PATIENCE_SECONDS
            elif now > until:
                self.result.faults.append(f"{self.result.runs} runs were made, of {self.runs}, and no more")
        if stalled is not None:
            _send(stalled[0], signal.SIGCONT)

    def _replace(self, workers: list[BaseProcess], stalled: tuple[BaseProcess, float] | None) -> None:
        """Kill a worker, and begin another; so too for those that found no server."""
        able = [n for n, worker in enumerate(workers) if stalled is None or worker is not stalled[0]]
        victim = self._chance.choice(able)
        for n in able:
            worker = workers[n]
            if worker.exitcode not in (None, NO_STORE):
                self._join(worker)
            if n == victim or worker.exitcode is not None:
                self._note("killing")
                _kill(worker)
                self._note("killed")
                self.result.worker_kills += n == victim
                workers[n] = self._begin("worker")

    def _stall(
        self, workers: list[BaseProcess], stalled: tuple[BaseProcess, float] | None, now: float
    ) -> tuple[BaseProcess, float] | None:
        """Stop a worker, or let the one that is stopped go on when its time is up."""
        if stalled is not None and now < stalled[1] + STALL_SECONDS:
            return stalled
        if stalled is not None and now < stalled[1] + STALL_SECONDS + KILL_SECONDS:
            _send(stalled[0], signal.SIGCONT)  # and it is spared for a moment more
            return stalled
        able = [worker for worker in workers if worker.exitcode is None]
        if not able:
            return None
        worker = self._chance.choice(able)
        _send(worker, signal.SIGSTOP)
        self.result.stalls += 1
        return worker, now

    def _kill_server(self, undo: Callable[[], None] | None) -> None:
        self._note("killing")
        self._writes.write("killing")
        self.server.kill()
        if undo is not None:
            undo()
        self._writes.write("killed")
        self._note("killed")
        self.result.server_kills += 1
        self.server.start()

    def _note(self, what: str) -> None:
        self._log.write(what, how="killed")

    def _count(self) -> int:
        """How many attempts have ended, from what is new in the log."""
        with (self.folder / "log").open("rb") as log:
            log.seek(self._read_to)
            new = log.read()
        whole = new.rfind(b"\n") + 1
        self._read_to += whole
        self.result.runs += sum(
            self._ended in line and b"returned" in line for line in new[:whole].splitlines()
        )
        return self.result.runs

    # -- checks

    def _check(self, *, calm: bool) -> None:
        """Hold the logs against the store."""
        with closing(open_backend(self.url)) as backend:
            store = self.look(backend)
        lines = read(self.folder / "log")
        stored = {key: held.revision for key, held in store.rows.items()}
        found = chains(read(self.folder / "writes"), stored, may_lose=self.may_lose)
        self.result.commits, self.result.lost, self.result.lost_keys = (
            found.commits,
            found.lost,
            len(found.lost_of),
        )
        self.result.stale = sum(line["what"] == "emitted" and line["type"] == "job.stale" for line in lines)
        self.result.faults += found.faults
        self.result.faults += regressions_are_reported(lines, found)
        self.result.regressions = sum(map(_is_regression, lines))
        if not self.may_lose:
            self.result.faults += list(_invariants(lines, store, calm=calm))


def campaigns(campaign: Callable[..., Result], seed: int, runs: int, told: Callable[[str], None]) -> Result:
    """One after the other until so many runs were made; stops at the first fault, whose logs are kept."""
    total = Result()
    while total.runs < runs and not total.faults:
        folder = Path(tempfile.mkdtemp(prefix="fleet-"))
        before = total.runs
        result = campaign(
            folder,
            seed,
            min(PART, runs - total.runs),
            told=lambda now, before=before: told(f"{before + now.runs} of {runs} runs"),
        )
        total.add(result)
        if result.faults:
            total.faults.append(f"seed {seed}, the logs are in {folder}")
        else:
            shutil.rmtree(folder)
        seed += 1
    return total


def _invariants(lines: list[Line], store: Store, *, calm: bool) -> Iterator[str]:
    """The invariants of the specification, as far as they show from outside."""
    history = history_of(lines)
    checks = [check for check in checker.CHECKS if check is not lives_end_with_the_round]
    found = checker.check(history, store, calm=calm, checks=(*checks, leases_are_kept))
    yield from map(str, found)


def history_of(lines: Iterable[Line]) -> History:
    """The log of a fleet as one of rounds that end with each kill; telemetry belongs to no round."""
    kills, told = 1, []
    for line in lines:
        kills += line["what"] == "killing"
        apart = line["what"] in ("emitted", "opened")
        told.append({**line, "round": 0 if apart else kills})
    history = History.of(told)
    history.last_round = kills
    return history


def leases_are_kept(case: Case) -> Found:
    """I-3: nobody takes an attempt over before it has ended, or its lease has."""
    for first, second in pairwise(case.log.leased):
        ended = first.end_pos is not None and first.end_pos < second.pos
        if first.life == second.life and not ended and second.since - first.since < LEASE_MS:
            yield "I-3", f"run {second.run} was leased {second.since - first.since} ms after run {first.run}"


def regressions_are_reported(lines: list[Line], found: Chains) -> Iterator[str]:
    """Who committed what a kill took back, and came to the instance again, has said so; `health()` counts."""
    said = {(line["round"], line["key"]) for line in lines if _is_regression(line)}
    for key, lost in found.lost_of.items():
        for by in found.returned_to(key, lost):
            if (by, key) not in said:
                yield f"{key}: process {by} committed what was lost, wrote it again, and did not say so"
    so_far: Counter[Any] = Counter()
    for line in lines:
        so_far[line["round"]] += _is_regression(line)
        if line["what"] == "health":
            count = so_far[line["round"]]  # more may be found while it shuts down
            if line["regressions"] != count:
                yield f"health() counts {line['regressions']} regressions, {count} were reported"


def _is_regression(line: Line) -> bool:
    return line["what"] == "emitted" and line["type"] == "history.regressed"


def _context() -> multiprocessing.context.ForkServerContext:
    """Processes that are forked from one which has imported everything: killing is cheap."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["soak.member", "durable_jobs_redis"])
    paths = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    with patch.dict(os.environ, PYTHONPATH=os.pathsep.join(paths)):
        forkserver.ensure_running()  # it imports by that path; its processes get ours
    return context


def _send(process: BaseProcess, number: signal.Signals) -> None:
    assert process.pid is not None
    with suppress(ProcessLookupError):  # it found no server, and has ended
        os.kill(process.pid, number)


def _kill(process: BaseProcess) -> None:
    process.kill()
    process.join(PATIENCE_SECONDS)
