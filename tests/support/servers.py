"""Servers in a thread: a receiver of webhook batches that answers 500 or hangs when it likes."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from socketserver import BaseServer
from typing import Any, TypeVar

S = TypeVar("S", bound=BaseServer)
STATUS = {"fine": 200, "error": 500, "redirect": 302}


def unreliable(random: Random) -> Callable[[], str]:
    """Answers in any order, half of them fine."""
    return lambda: random.choice(("fine", "fine", "error", "hang"))


class Receiver(ThreadingHTTPServer):
    """Keeps every batch that reached it; takes no more than `allowed` of them as delivered.

    `choose`: how to answer the next one: fine, error, redirect, or hang.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, choose: Callable[[], str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.choose = choose
        self.lock = threading.Lock()
        self.arrived = threading.Event()
        self.batches: list[dict[str, Any]] = []
        self.answers: list[str] = []
        self.delivered: set[str] = set()
        self.allowed = math.inf

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hooks"

    def take(self, batch: dict[str, Any]) -> str:
        """Write a batch down; how to answer it."""
        with self.lock:
            answer = self.choose()
            if answer == "fine" and len(self.delivered) >= self.allowed:
                answer = "error"
            if answer == "fine":
                self.delivered.add(batch["idempotency_key"])
            self.batches.append(batch)
            self.answers.append(answer)
            self.arrived.set()
            return answer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The other side was killed: that is what this server is for."""


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        batch = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = self.server.take(batch)
        if answer == "hang":
            self.rfile.read(1)  # until the other side has enough
            self.close_connection = True
            return
        self.send_response(STATUS[answer])
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Be quiet."""


@contextmanager
def serving(server: S) -> Generator[S]:
    """A server that answers while the block is open."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def receiver(choose: Callable[[], str] = lambda: "fine") -> AbstractContextManager[Receiver]:
    """A receiver, listening while the block is open."""
    return serving(Receiver(choose))
