"""A proxy in front of a Redis server that loses, tears, holds back and delays exchanges, as it is told."""

from __future__ import annotations

import hashlib
import select
import socket
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from importlib.resources import files
from typing import Any, BinaryIO, Literal

from attrs import define, field

SCRIPT = files("durable_jobs_redis").joinpath("exchange.lua").read_bytes()
SHA = hashlib.sha1(SCRIPT).hexdigest().encode()
Fate = Literal["fine", "lost", "unanswered", "torn", "held", "slow"]
"""What becomes of an exchange: it passes; the connection is cut before it is forwarded, or after it was done
and before the answer, or in the middle of the answer; it is cut, and what was asked is held, to be forwarded
later; or it is forwarded only when the proxy is told to go on."""

Value = Any
WRITE_PARTS = 9


@define(eq=False)
class Asked:
    """An exchange: its raw bytes, what it may be done until, and the ids it writes."""

    raw: bytes
    not_after: int
    ids: frozenset[str]
    fate: Fate = "fine"
    released: threading.Event = field(factory=threading.Event)
    answered: threading.Event = field(factory=threading.Event)
    answer: Value = None


def read_message(file: BinaryIO) -> tuple[bytes, Value]:
    """One message of the protocol, either way: its bytes and its value. `EOFError` at the end."""
    line = file.readline()
    if not line.endswith(b"\r\n"):
        raise EOFError
    kind, rest = line[:1], line[1:-2]
    if kind == b"$" and rest != b"-1":
        text = file.read(int(rest) + 2)
        if len(text) < int(rest) + 2:
            raise EOFError
        return line + text, text[:-2]
    if kind == b"*" and rest != b"-1":
        parts = [read_message(file) for _ in range(int(rest))]
        return line + b"".join(raw for raw, _ in parts), [value for _, value in parts]
    return line, line[:-2] if kind in b"+-" else None if rest == b"-1" else int(rest)


def exchange_of(raw: bytes, words: list[bytes]) -> Asked | None:
    """What is asked, if that is an exchange."""
    if words[0] not in (b"EVALSHA", b"EVAL") or words[1] not in (SHA, SCRIPT):
        return None
    rest = words[3 + int(words[2]) :]
    _, _, not_after, _, _, count, *parts = rest
    ids = parts[3 : WRITE_PARTS * int(count) : WRITE_PARTS]
    return Asked(raw, int(not_after), frozenset(id.decode(errors="replace") for id in ids))


class Proxy:
    """Listens on a port of its own. `choose`: the fate of each exchange; all else passes.

    `counts`: exchanges by fate; `copies`: how often each exchange that writes has come, by digest.
    """

    def __init__(self, port: int, choose: Callable[[Asked], Fate]) -> None:
        self.choose = choose
        self.counts: Counter[str] = Counter()
        self.copies: Counter[bytes] = Counter()
        self.waiting: list[Asked] = []
        self._target = port
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._sockets: set[socket.socket] = set()
        self._closed = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    @property
    def url(self) -> str:
        """Of the server, through here."""
        return f"redis://127.0.0.1:{self.port}"

    def close(self) -> None:
        """End every connection; what is still held never arrives."""
        self._closed = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            sockets, waiting = list(self._sockets), list(self.waiting)
        for asked in waiting:
            asked.released.set()
        for one in sockets:
            _cut(one)
        for thread in self._threads:
            thread.join()

    def turn_to(self, port: int, *, cut: bool = True) -> None:
        """Lead to another server from now on; every connection is cut, or stays where it is."""
        self._target = port
        with self._lock:
            sockets = list(self._sockets) if cut else []
        for one in sockets:
            _cut(one)

    def take(self, wanted: Callable[[Asked], bool] = lambda asked: True) -> list[Asked]:
        """What is held or delayed, and wanted: it is the caller's now to release."""
        with self._lock:
            taken = [asked for asked in self.waiting if wanted(asked)]
            self.waiting = [asked for asked in self.waiting if asked not in taken]
        return taken

    def release(self) -> list[Asked]:
        """Forward what is held or delayed, and wait until the server has answered it."""
        taken = self.take()
        for asked in taken:
            asked.released.set()
        for asked in taken:
            assert asked.answered.wait(20)
        return taken

    def _start(self, work: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)
        thread.start()
        self._threads = [*filter(threading.Thread.is_alive, self._threads), thread]

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        try:
            server = self._connect(client)
        except OSError:
            _cut(client)
            return
        asks, answers = client.makefile("rb"), server.makefile("rb")
        try:
            while True:
                raw, words = read_message(asks)
                if words[0] == b"SUBSCRIBE":
                    server.sendall(raw)
                    _pump(server, client)
                    return
                asked = exchange_of(raw, words)
                if asked is None:
                    server.sendall(raw)
                    client.sendall(read_message(answers)[0])
                elif not self._exchange(asked, client, server, answers):
                    return
        except (OSError, EOFError, ValueError):
            return
        finally:
            with self._lock:
                self._sockets -= {client, server}
            for one in (asks, answers, client, server):
                with suppress(OSError):
                    one.close()

    def _connect(self, client: socket.socket) -> socket.socket:
        server = socket.create_connection(("127.0.0.1", self._target))
        with self._lock:
            self._sockets |= {client, server}
        return server

    def _exchange(
        self, asked: Asked, client: socket.socket, server: socket.socket, answers: BinaryIO
    ) -> bool:
        """Let an exchange have its fate; whether the connection goes on."""
        with self._lock:
            fate = asked.fate = self.choose(asked)
            self.counts[fate] += 1
            if asked.ids:
                self.copies[hashlib.sha1(asked.raw).digest()] += 1
            if fate in ("held", "slow"):
                self.waiting.append(asked)
        if fate in ("lost", "held"):
            _cut(client)
        if fate == "lost":
            return False
        if fate in ("held", "slow"):
            asked.released.wait()
            if self._closed:
                return False
        server.sendall(asked.raw)
        raw, asked.answer = read_message(answers)
        asked.answered.set()
        if fate == "torn":
            client.sendall(raw[: len(raw) // 2])
        if fate not in ("fine", "slow"):
            _cut(client)
            return False
        client.sendall(raw)
        return True


def _cut(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)


def _pump(server: socket.socket, client: socket.socket) -> None:
    """Pass on what is published, until an end."""
    while True:
        for one in select.select([server, client], [], [])[0]:
            data = one.recv(65_536)
            if not data or one is client:
                return
            client.sendall(data)
