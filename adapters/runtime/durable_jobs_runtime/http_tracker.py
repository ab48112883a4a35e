"""Telemetry to a collector (S-65): in batches, from a thread of its own, with backoff, the buffer bounded."""

from __future__ import annotations

import json
import logging
import threading
import time
import urllib.error
import urllib.request
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence

from durable_jobs_core.checks import without_secrets
from durable_jobs_core.telemetry import TelemetryEvent
from durable_jobs_runtime.arguments import Arguments
from durable_jobs_runtime.log import TELL_SECONDS, Seldom, say

PAUSE_MAX = 30.0
_FINAL = frozenset(range(400, 500)) - {408, 425, 429}
"""Answers that blame the request, but for those to one that may be made again."""


class HttpTracker:
    """POSTs values to a collector as JSON, `{"events": [...]}`, each as its `wire()` is.

    `endpoint`: the URL, without user and password; `env`, `service_key`: added to each event; `headers`:
    added to each request.
    `include_state`: send the user's state and input too, which may hold secrets, default no.
    `batch_size`, `interval`: at most so many events a request, and none waits longer for others. There is one
    request at a time; one whose answer was lost is made again, with the same `eventId`s.
    `buffer_size`: what is held while the collector is away, with states only if they are sent; the oldest
    are dropped beyond it, and counted in `dropped`, as are batches given up after `attempts` tries of
    `timeout` each, with `backoff` and then twice as much each time, at most half a minute, between them. What
    the collector refuses (an answer of 400 to 499, but for 408, 425 and 429) is given up at once.

    Spans are seconds. One that is only waited for (`interval`, `backoff`) may be zero, which ends the wait
    at once; one in which something is to be done (`timeout`) is at least a millisecond.
    Raises `ValidationError` with all that is wrong.
    """

    def __init__(
        self,
        *,
        endpoint: str,
        env: str,
        service_key: str,
        headers: Mapping[str, str] | None = None,
        include_state: bool = False,
        batch_size: int = 100,
        interval: float = 1.0,
        buffer_size: int = 10_000,
        attempts: int = 8,
        timeout: float = 10.0,
        backoff: float = 0.5,
    ) -> None:
        arguments = Arguments()
        arguments.url("endpoint", endpoint)
        arguments.headers("headers", headers or {})
        for name, text in (("env", env), ("service_key", service_key)):
            arguments.expect(isinstance(text, str), name, "a str", type(text).__name__)  # it may be a secret
        arguments.flag("include_state", include_state)
        for name, number in (
            ("batch_size", batch_size),
            ("buffer_size", buffer_size),
            ("attempts", attempts),
        ):
            arguments.count(name, number, 1)
        for name, span, least in (
            ("interval", interval, 0),
            ("timeout", timeout, 0.001),
            ("backoff", backoff, 0),
        ):
            arguments.seconds(name, span, least)
        arguments.check("HttpTracker")
        self.endpoint = endpoint
        self.dropped = 0
        self.sent = 0
        self._extra = {"env": env, "serviceKey": service_key}
        self._headers = {"Content-Type": "application/json", **(headers or {})}
        self._include_state = include_state
        self._batch_size = batch_size
        self._interval = interval
        self._buffer: deque[TelemetryEvent] = deque()
        self._buffer_size = buffer_size
        self._attempts = attempts
        self._timeout = timeout
        self._backoff = backoff
        self._in_hand = 0
        self._overflow = 0
        self._tells_overflow = Seldom(TELL_SECONDS)
        self._untold = Counter[str]()
        self._tells_drops = Seldom(TELL_SECONDS)
        self._wake = threading.Condition()
        self._closing_at: float | None = None
        self._thread: threading.Thread | None = None

    def emit(self, events: Sequence[TelemetryEvent]) -> None:
        """Hold the values for the next batch."""
        with self._wake:
            was_empty = not self._buffer
            self._buffer.extend(events if self._include_state else [one.without_state() for one in events])
            while len(self._buffer) > self._buffer_size:
                self._buffer.popleft()
                self.dropped += 1
                self._overflow += 1
            if self._thread is None or not self._thread.is_alive():  # it is not, in a forked child
                self._closing_at = None
                thread = threading.Thread(target=self._serve, name="durable-jobs-telemetry", daemon=True)
                thread.start()
                self._thread = thread
            if was_empty or len(self._buffer) >= self._batch_size:
                self._wake.notify()

    def close(self, timeout: float) -> None:
        """Send what is held, for at most `timeout` seconds; the rest is dropped and counted.

        What is emitted later is held anew, for the next `close`.
        """
        with self._wake:
            thread = self._thread
            self._closing_at = time.monotonic() + timeout
            self._wake.notify()
        if thread is not None:
            thread.join(timeout + 0.1)
        with self._wake:
            self._thread = None  # one that still waits for an answer ends when it comes
            lost = len(self._buffer) + self._in_hand
            self._buffer.clear()
            self._in_hand = 0
            self._tells_overflow, self._tells_drops = Seldom(TELL_SECONDS), Seldom(TELL_SECONDS)
        self._tell_overflow("the runtime closed")
        self._count(lost, "the runtime closed")

    def _serve(self) -> None:
        while batch := self._next():
            why = self._send(batch)
            with self._wake:
                if not self._is_current():
                    return  # `close` did not wait, and has counted these
                self._in_hand = 0
            if why is None:
                self.sent += len(batch)
            else:
                self._count(len(batch), why)

    def _next(self) -> list[TelemetryEvent]:
        """The next batch; empty when all is sent and the tracker closes."""
        with self._wake:
            self._wait_for(lambda: bool(self._buffer), None)
            self._wait_for(lambda: len(self._buffer) >= self._batch_size, self._interval)
            if not self._is_current():
                return []
            self._in_hand = min(len(self._buffer), self._batch_size)
            return [self._buffer.popleft() for _ in range(self._in_hand)]

    def _wait_for(self, is_true: Callable[[], bool], seconds: float | None) -> None:
        """Wait until it is true, the time is up, or the tracker closes."""
        self._wake.wait_for(lambda: self._closing_at is not None or is_true(), seconds)

    def _count(self, number: int, why: str) -> None:
        """Count what was dropped, and log it, seldom."""
        with self._wake:
            self.dropped += number
            self._untold += Counter({why: number})  # nothing, of none
            if not self._untold or not self._tells_drops.tells():
                return
            untold, self._untold = self._untold, Counter()
        for reason, count in untold.items():
            self._tell(count, reason)

    def _tell_overflow(self, why: str) -> None:
        """Log, seldom, what a full buffer has dropped; it is counted already."""
        with self._wake:
            if not self._overflow or not self._tells_overflow.tells():
                return
            number, self._overflow = self._overflow, 0
        self._tell(number, f"more than {self._buffer_size} waited ({why})")

    def _tell(self, number: int, why: str) -> None:
        where = without_secrets(self.endpoint)
        say(logging.WARNING, "%d telemetry events for %s were dropped: %s", number, where, why)

    def _is_current(self) -> bool:
        return self._thread is threading.current_thread()

    def _send(self, batch: list[TelemetryEvent]) -> str | None:
        """Why the collector did not take a batch; `None` if it did."""
        try:
            events = [{**event.wire(with_state=self._include_state), **self._extra} for event in batch]
            body = json.dumps({"events": events}).encode()
        except Exception as error:
            return f"they cannot be written: {type(error).__name__}: {error}"
        why: str | None = "the runtime closed"
        pause = self._backoff
        for attempt in range(self._attempts):
            if attempt:
                self._rest(min(pause, PAUSE_MAX))
                pause = min(2 * pause, PAUSE_MAX)
            left = self._time_left()
            if left <= 0:
                break
            why, is_over = self._post(body, min(self._timeout, left))
            self._tell_overflow(why or "the collector is slow")
            if is_over:
                break
        return why

    def _rest(self, seconds: float) -> None:
        """Wait between two tries, however many events come; when the tracker begins to close, no longer."""
        with self._wake:
            closing_at = self._closing_at
            self._wake.wait_for(lambda: self._closing_at != closing_at, min(seconds, self._time_left()))

    def _time_left(self) -> float:
        closing_at = self._closing_at
        if not self._is_current():
            return 0.0
        return float("inf") if closing_at is None else closing_at - time.monotonic()

    def _post(self, body: bytes, timeout: float) -> tuple[str | None, bool]:
        """One try: why the collector did not take a batch, `None` if it did, and whether it was the last."""
        request = urllib.request.Request(self.endpoint, body, self._headers, method="POST")
        try:
            with _OPENER.open(request, timeout=timeout):
                return None, True
        except urllib.error.HTTPError as error:  # every answer but 2xx
            error.close()
            return f"the collector answered {error.code}", error.code in _FINAL
        except Exception as error:
            return f"{type(error).__name__}: {error}", False


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is a refusal: the events of a POST that is redirected would be left behind."""

    def redirect_request(
        self, req: object, fp: object, code: int, msg: str, headers: object, newurl: str
    ) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)
