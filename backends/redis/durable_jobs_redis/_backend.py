"""The backend: one primary server, used by any number of processes on any number of machines."""

from __future__ import annotations

import logging
import os
import secrets
import threading

from durable_jobs_core.backend import Answer, Batch, Claim, Cursor, Health, Page, Query
from durable_jobs_core.errors import StorageError
from durable_jobs_core.words import Key
from durable_jobs_redis import _durability, _listing
from durable_jobs_redis._errors import NewerStoreError, RedisStoreError
from durable_jobs_redis._exchange import Confirmation, Exchanger
from durable_jobs_redis._hints import Hints
from durable_jobs_redis._names import Names, job_of
from durable_jobs_redis._url import Location, parse
from durable_jobs_redis._wire import Wire

FORMAT = 1
_log = logging.getLogger("durable_jobs")
_MAKE = """
local found = redis.call('HMGET', KEYS[1], 'format', 'shards', 'id')
if redis.call('EXISTS', KEYS[1], KEYS[2]) == 0 then
  found = { ARGV[1], ARGV[2], ARGV[3] }
  for i = 2, #KEYS do
    local set = redis.pcall('SET', KEYS[i], ARGV[3] .. ' 0')
    if set.err then
      return set
    end
  end
  redis.call('HSET', KEYS[1], 'format', ARGV[1], 'shards', ARGV[2], 'id', ARGV[3])
end
return found
"""


class RedisBackend:
    """A store in a server. Made by `open`.

    `exchange` has a connection of its own, and so have the hints; `scan` and `health` share a third one.
    """

    lanes = 1

    def __init__(self, location: Location) -> None:
        self._location = location
        self._pid = os.getpid()
        self._closed = threading.Event()
        self._aside = self._wire()
        self._names, identity = self._make(self._aside)
        channel = self._names.channel(location.database)
        confirmation = Confirmation(location.replicas, location.wait_ms, aof=location.aof)
        self._line = self._wire()
        self._exchanger = Exchanger(self._line, self._names, identity, channel, confirmation)
        self._looker = Exchanger(self._aside, self._names, identity, channel, Confirmation(0, 0, aof=False))
        self._lock = threading.Lock()
        self._hints = Hints(
            self._wire(),
            channel,
            self._exchanger.origin,
            self._is_news,
            self._has_missed,
        )

    @classmethod
    def open(cls, url: str) -> RedisBackend:
        """Open, and if need be make, the store of a URL; see the package. What may be lost is logged.

        Raises `StorageError` for a URL that is not understood, and its subclass `RedisStoreError`, which
        names the server and what is wrong with it.
        """
        backend = cls(parse(url))
        for text in backend.health().warnings:
            _log.warning("%s: %s", backend._location.server, text)
        return backend

    def lane(self, key: Key) -> int:
        """There is one lane."""
        return 0

    def exchange(self, lane: int, batch: Batch) -> Answer:
        """Perform a batch in one round trip. Raises `RedisStoreError`: the outcome is unknown."""
        self._check_usable()
        with self._lock:
            self._check_usable()
            return self._exchanger.exchange(batch)

    def scan(self, query: Query, after: Cursor | None, limit: int) -> Page:
        """Rows in the order of their keys. A page may be short, even empty, before the end.

        Raises `RedisStoreError`, and `StorageError` for a cursor that is not of this backend.
        """
        self._check_usable()
        page = _listing.page(self._aside, self._names, self._looker.load, query, after, max(1, limit))
        if not page.rows:
            self._looker.load(())  # there are none either where the store is lost
        return page

    def wait(self, timeout: float) -> None:
        """Return when there is work due sooner than the last claim was told, or after `timeout` seconds."""
        self._check_usable()
        self._hints.wait(timeout)

    def _is_news(self, job: bytes, instant: int) -> bool:
        hint = self._exchanger.hint
        if hint is None:
            return True
        jobs, known = hint
        return job in jobs and (known is None or instant < known)

    def _has_missed(self) -> bool:
        """Whether something became due sooner than the last claim was told, while nobody listened."""
        hint = self._exchanger.hint
        if hint is None:
            return False
        limits = {job_of(name): 1 for name in hint[0]}
        look = Batch(claim=Claim(limits, now=-(2**63), until=0), not_after=0)  # nothing is due that long
        first = self._looker.exchange(look).next_wake
        return first is not None and any(self._is_news(name, first) for name in hint[0])

    def health(self) -> Health:
        """What an acknowledgement means here, the clock, what may be lost, and the jobs there are."""
        self._check_usable()
        settings = _durability.read(self._aside)
        return Health(
            durability=_durability.durability(settings, self._location),
            clock=self._looker.exchange(Batch(not_after=0)).clock,
            warnings=(*_durability.warnings(settings, self._location), *self._exchanger.warnings),
            jobs=tuple(_listing.jobs(self._aside, self._names)),
        )

    def close(self) -> None:
        """End every `wait`, and close the connections."""
        self._closed.set()
        if os.getpid() == self._pid:
            self._hints.close()
            with self._lock:
                self._line.close()
            self._aside.close()

    def _wire(self) -> Wire:
        location = self._location
        return Wire(location.server, location.kind, location.options)

    def _make(self, wire: Wire) -> tuple[Names, bytes]:
        """Make the store, if it is not there; it keeps the number of shards, and the identity, it was made
        with."""
        location = self._location
        why = _durability.check(_durability.read(wire), location)
        if why is not None:
            raise RedisStoreError(location.server, why)
        names = Names(location.namespace, location.shards or 1)
        keys = [names.meta, *names.clocks()]
        made = FORMAT, names.shards, secrets.token_hex(8)
        (found,) = wire.call(("EVAL", _MAKE, len(keys), *keys, *made))
        try:
            if int(found[0]) > FORMAT:
                raise NewerStoreError(location.server, int(found[0]), FORMAT)
            shards, identity = int(found[1]), bytes(found[2])
        except (TypeError, ValueError) as error:
            cause = f"{names.meta} is not of this library, or has been lost: {found!r}"
            raise RedisStoreError(location.server, cause) from error
        if location.shards not in (None, shards):
            cause = f"the store was made with {shards} shards, and keeps them; the URL says {location.shards}"
            raise RedisStoreError(location.server, cause)
        return Names(location.namespace, shards), identity

    def _check_usable(self) -> None:
        if os.getpid() != self._pid:
            raise StorageError(f"{self._location.server} was opened by the process this one was forked from")
        if self._closed.is_set():
            raise StorageError(f"{self._location.server}: this backend is closed")
