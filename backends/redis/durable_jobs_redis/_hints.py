"""Hints: who commits an alarm that is now the first of its job says so on a channel.

A hint may be lost, with its connection for example: the engine looks for due work by itself, if later.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from redis.exceptions import TimeoutError as SilenceError

from durable_jobs_core.errors import UNCHANGED
from durable_jobs_redis._errors import FOR_GOOD, code_of
from durable_jobs_redis._wire import Line

AGAIN_SECONDS = 1.0
"""After so long a listener that lost its connection tries again."""

_log = logging.getLogger("durable_jobs")

IsNews = Callable[[bytes, bytes, int], bool]


class Hints:
    """Listens from the first `wait` on, in a thread of its own.

    `is_news(tag, job, instant)`: whether a due instant of a job, in a shard, is worth waking up for;
    `has_missed`: whether there was something of that sort while nobody listened. `trouble`: why nobody
    listens now, if so.
    """

    def __init__(
        self,
        line: Line,
        channel: str,
        origin: bytes,
        is_news: IsNews,
        has_missed: Callable[[], bool],
    ) -> None:
        self._line, self._channel, self._origin = line, channel, origin
        self._is_news, self._has_missed = is_news, has_missed
        self.trouble: str | None = None
        self._changed = threading.Condition()
        self._count = 0
        self._heard = 0
        self._closed = False
        self._stop = threading.Event()
        self._connection: Any = None
        self._thread: threading.Thread | None = None

    def wait(self, timeout: float) -> None:
        """Return at the next news, or at news nobody has been told of yet, or after `timeout` seconds."""
        with self._changed:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._listen, daemon=True, name="durable-jobs-hints")
                self._thread.start()
            self._changed.wait_for(lambda: self._closed or self._count > self._heard, timeout)
            self._heard = self._count

    def close(self) -> None:
        """End every `wait`, and the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            connection, thread = self._connection, self._thread
        self._stop.set()
        if connection is not None:
            connection.disconnect()
        if thread is not None:
            thread.join(AGAIN_SECONDS)

    def _listen(self) -> None:
        while not self._closed:
            try:
                self._hear()
            except Exception as error:  # its own too, of a connection that `close` ends under it
                self._miss(error)
                self._stop.wait(AGAIN_SECONDS)

    def _miss(self, error: Exception) -> None:
        """Told in the log once, if it will not pass: everything works without hints, and only later."""
        trouble = f"due work of other processes is noticed late: {error}".removesuffix(UNCHANGED)
        if trouble != self.trouble and code_of(error) in FOR_GOOD:
            _log.warning("%s: %s", self._line.server, trouble)
        self.trouble = trouble

    def _hear(self) -> None:
        connection = self._line.listen(self._channel)
        try:
            with self._changed:
                if self._closed:
                    return
                self._connection = connection
            self.trouble = None
            if self._has_missed():
                self._tell()
            while not self._closed:
                self._take(self._next(connection))
        finally:
            connection.disconnect()

    def _next(self, connection: Any) -> Any:
        """The next message. A server that hangs says as little as one without news: it is to answer then."""
        try:
            return connection.read_response(disconnect_on_error=False)
        except SilenceError:
            connection.send_command("SUBSCRIBE", self._channel, check_health=False)
            return connection.read_response()

    def _take(self, message: Any) -> None:
        if message[0] != b"message":
            return  # the server answers
        origin, tag, instant, job = message[2].split(b" ")
        if origin != self._origin and self._is_news(tag, job, int(instant)):
            self._tell()

    def _tell(self) -> None:
        with self._changed:
            self._count += 1
            self._changed.notify_all()
