"""The backend: a primary server or a Cluster, used by any number of processes on any number of machines."""

from __future__ import annotations

import logging
import os
import secrets
import threading
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from durable_jobs_core.backend import Answer, Batch, Claim, Cursor, Health, Page, Query
from durable_jobs_core.errors import UNCHANGED, StorageError
from durable_jobs_core.words import Job, Key
from durable_jobs_redis import _durability, _listing
from durable_jobs_redis._exchange import Confirmation, Exchanger
from durable_jobs_redis._hints import Hints
from durable_jobs_redis._making import loss, make
from durable_jobs_redis._names import job_of
from durable_jobs_redis._route import Route
from durable_jobs_redis._url import Location, parse
from durable_jobs_redis._warnings import Warnings
from durable_jobs_redis._wire import Line

_log = logging.getLogger("durable_jobs")


class Lane(NamedTuple):
    """What performs the exchanges of a lane, one at a time."""

    exchanger: Exchanger
    lock: threading.Lock


class RedisBackend:
    """A store in a server, or in a Cluster. Made by `open`.

    Each lane has connections of its own, and so have the hints; `scan` and `health` share theirs.
    """

    def __init__(self, location: Location) -> None:
        self._location = location
        self._pid = os.getpid()
        self._closed = threading.Event()
        self._to = Route(location)
        self._aside = self._to.line()
        try:
            self._names = make(self._aside, location)
        except BaseException:
            self._aside.close()
            raise
        channel = self._names.channel(location.database)
        origin = secrets.token_hex(8).encode()
        confirmation = Confirmation(location.replicas, location.wait_ms, aof=location.aof)
        self._warned = Warnings(location.server)
        calls = self._to.lanes(self._names)
        self.lanes = len(calls)
        self._lane_of = {call: lane for lane, mine in enumerate(calls) for call in mine}

        def exchanger(line: Line, mine: Sequence[int]) -> Exchanger:
            return Exchanger(line, self._names, mine, origin, channel, confirmation, self._warned)

        self._lanes = [Lane(exchanger(self._to.line(), mine), threading.Lock()) for mine in calls]
        self._looker = exchanger(self._aside, range(self._names.calls))
        self._followed = 0
        self._hints = Hints(self._to.line(), channel, origin, self._is_news, self._has_missed)

    @classmethod
    def open(cls, url: str) -> RedisBackend:
        """Open, and if need be make, the store of a URL; see the package. What may be lost is logged.

        Raises `StorageError` for a URL that is not understood, and its subclass `RedisStoreError`, which
        names the server and what is wrong with it.
        """
        backend = cls(parse(url))
        backend._looker.check()
        for text in backend._losses(backend._settings()):
            _log.warning("%s: %s", backend._location.server, text)
        return backend

    def lane(self, key: Key) -> int:
        """One a node, of a Cluster: that of the node which had the key's shard when the store was opened."""
        place = self._names.place(key)
        return 0 if place is None else self._lane_of[place.call]

    def exchange(self, lane: int, batch: Batch) -> Answer:
        """Perform a batch, in one round trip to a node. Raises `RedisStoreError`: its outcome is unknown."""
        self._check_usable()
        with self._lanes[lane].lock:
            self._check_usable()
            return self._lanes[lane].exchanger.exchange(batch)

    def scan(self, query: Query, after: Cursor | None, limit: int) -> Page:
        """Rows in the order of their keys. A page may be short, even empty, before the end.

        Raises `RedisStoreError`, and `ValidationError` for a cursor that is not of this backend.
        """
        self._check_usable()
        self._follow()
        page = _listing.page(self._aside, self._names, self._looker.load, query, after, max(1, limit))
        if page.after is None or not page.rows:
            self._looker.check()  # there are none either where the store is lost
        return page

    def wait(self, timeout: float) -> None:
        """Return when there is work due sooner than the last claim was told, or after `timeout` seconds."""
        self._check_usable()
        self._hints.wait(timeout)

    def _is_news(self, tag: bytes, job: bytes, instant: int) -> bool:
        lane = self._lanes[self._lane_of.get(self._names.call_of(tag), 0)]
        return lane.exchanger.is_news(job, instant)

    def _has_missed(self) -> bool:
        """Whether something became due sooner than the last claim was told, while nobody listened."""
        exchangers = [lane.exchanger for lane in self._lanes]
        hints = [exchanger.hint for exchanger in exchangers]
        jobs = {name for hint in hints if hint is not None for name in hint[0]}
        limits = {job_of(name): 1 for name in jobs}
        look = Batch(claim=Claim(limits, now=-(2**63), until=0), not_after=0)  # nothing is due that long
        first = self._looker.exchange(look).next_wake
        return first is not None and any(one.is_news(name, first) for one in exchangers for name in jobs)

    def health(self) -> Health:
        """What an acknowledgement means here, the clock, what may be lost, and the jobs there are."""
        self._check_usable()
        self._follow()
        clock = self._looker.check()
        settings = self._settings()
        words = dict.fromkeys(_durability.durability(one, self._location) for one in settings)
        warnings, jobs = self._warnings(settings), list[Job]()
        lost = loss(self._aside, self._names, self._location.database)
        if lost is not None:
            warnings.append(lost)
        try:
            jobs = _listing.jobs(self._aside, self._names)
        except StorageError as error:
            warnings.append(f"which jobs there are is not known: {error}".removesuffix(UNCHANGED))
        return Health(
            durability="; or, on another node, ".join(words),
            clock=clock,
            warnings=tuple(warnings),
            jobs=tuple(jobs),
        )

    def _follow(self) -> None:
        """Where a lane asked anew where the primary is, so does what is read beside it."""
        unconfirmed = sum(lane.exchanger.unconfirmed for lane in self._lanes)
        if unconfirmed != self._followed:
            self._followed = unconfirmed
            self._aside.close()

    def _settings(self) -> list[_durability.Settings]:
        """Of each server."""
        return [_durability.read(wire) for wire in self._aside.wires()]

    def _losses(self, settings: Iterable[_durability.Settings]) -> dict[str, None]:
        """How what is acknowledged may be lost."""
        return dict.fromkeys(text for one in settings for text in _durability.warnings(one, self._location))

    def _warnings(self, settings: Iterable[_durability.Settings]) -> list[str]:
        found = self._losses(settings)
        found |= dict.fromkeys(self._warned.now())
        if self._hints.trouble is not None:
            found[self._hints.trouble] = None
        return list(found)

    def close(self) -> None:
        """End every `wait`, and close the connections."""
        self._closed.set()
        if os.getpid() == self._pid:
            self._hints.close()
            for lane in self._lanes:
                with lane.lock:
                    lane.exchanger.close()
            self._aside.close()

    def _check_usable(self) -> None:
        if os.getpid() != self._pid:
            raise StorageError(f"{self._location.server} was opened by the process this one was forked from")
        if self._closed.is_set():
            raise StorageError(f"{self._location.server}: this backend is closed")
