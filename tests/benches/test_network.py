"""A network in front of a server: it delays both directions, keeps the order, and holds up nothing behind."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer

import pytest
from support.needs import A_REDIS
from support.scripts import ROOT
from support.servers import serving

sys.path.insert(0, str(ROOT))

from benchmarks.network import DELAYS, NETWORK, TRIP_MS, TRIPS_TO_ACCEPT, TRIPS_TO_RUN, Wire, wire_to

COUNT = 30
ASKS = 200


class _Echo(BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(65_536):
            self.request.sendall(data)


class _Late(BaseRequestHandler):
    """An echo that begins when all has come: until then it is asked once, however slowly."""

    def handle(self) -> None:
        with self.request.makefile("rb") as asked:
            for word in [asked.read(6) for _ in range(ASKS)]:
                self.request.sendall(word)


@contextmanager
def wired(delay: float, handler: type[BaseRequestHandler] = _Echo) -> Iterator[tuple[Wire, socket.socket]]:
    """A way to somebody who answers with what was asked."""
    with (
        serving(ThreadingTCPServer(("127.0.0.1", 0), handler)) as server,
        wire_to(server.server_address[1], delay) as wire,
        socket.create_connection(("127.0.0.1", wire.port), timeout=60) as client,
    ):
        yield wire, client


def test_both_directions_are_delayed_and_each_question_is_a_round_trip() -> None:
    with wired(0.02) as (wire, client):
        began = time.monotonic()
        for n in range(3):
            client.sendall(b"%d" % n)
            assert client.recv(10) == b"%d" % n
        took = time.monotonic() - began

    assert took >= 3 * 2 * 0.02
    assert wire.trips == 3


def test_what_comes_meanwhile_is_not_held_up_and_keeps_its_order() -> None:
    delay, words = 0.5, [b"%06d" % n for n in range(ASKS)]
    with wired(delay, _Late) as (wire, client), client.makefile("rb") as answers:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        began = time.monotonic()
        for word in words:
            client.sendall(word)
        assert answers.read(6 * ASKS) == b"".join(words)
        took = time.monotonic() - began

    assert took < ASKS * delay / 4
    assert wire.trips == 1


def test_more_than_a_buffer_holds_passes_whole() -> None:
    data = bytes(range(256)) * 20_000
    with wired(0.0) as (_, client):
        received = bytearray()
        for first in range(0, len(data), 65_536):
            client.sendall(data[first : first + 65_536])
            while len(received) < min(first + 65_536, len(data)):
                received += client.recv(65_536)

    assert received == data


def test_the_end_of_a_server_is_the_end_of_its_clients() -> None:
    class Once(BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(b"bye")

    with (
        serving(ThreadingTCPServer(("127.0.0.1", 0), Once)) as server,
        wire_to(server.server_address[1], 0.001) as wire,
        socket.create_connection(("127.0.0.1", wire.port), timeout=60) as client,
    ):
        assert client.makefile("rb").read() == b"bye"
        assert wire.trips == 0


@A_REDIS
@pytest.mark.parametrize("name", DELAYS)
def test_ours_takes_in_and_runs_behind_it_in_fewer_round_trips_than_jobs(name: str, tmp_path: Path) -> None:
    (measure,) = [measure for measure in NETWORK.measures if measure.name == name]

    figures = measure.run(tmp_path, COUNT)

    assert set(figures.values) == set(NETWORK.columns)
    assert figures.values[TRIP_MS] >= 2000 * DELAYS[name]
    assert 1 / COUNT <= figures.values[TRIPS_TO_ACCEPT] < 1
    assert 3 / COUNT <= figures.values[TRIPS_TO_RUN] < 1
