"""Trackers: a real collector over HTTP, sometimes failing, sometimes hanging (S-65)."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from attrs import define, field
from durable_jobs_runtime import HttpTracker, LoggingTracker, MemoryTracker, http_tracker
from durable_jobs_runtime import trackers as trackers_module
from durable_jobs_runtime.trackers import Trackers

from durable_jobs_core.record import Stored
from durable_jobs_core.telemetry import (
    JobExecuted,
    JobFailed,
    JobNewer,
    JobQuarantined,
    JobStarted,
    JobTerminated,
    JobUnregistered,
    TelemetryEvent,
)
from durable_jobs_core.words import Failure, Key

KEY = Key("continuous", "refresh", "user-1")


def terminated(seq: int) -> TelemetryEvent:
    return JobTerminated(key=KEY, at=1_700_000_000_000, life=7, seq=seq, reason="bye", run_count=1)


def executed(seq: int, state: Stored) -> TelemetryEvent:
    return JobExecuted(
        key=KEY,
        at=0,
        life=1,
        seq=seq,
        hook="execute",
        run=1,
        run_count=1,
        attempt=1,
        duration_ms=0,
        state=state,
    )


@define
class Collector:
    """A collector: `answers` are the statuses of the next requests, 0 to hang up; then 200."""

    url: str = ""
    answers: list[int] = field(factory=list)
    bodies: list[dict[str, Any]] = field(factory=list)
    headers: list[dict[str, str]] = field(factory=list)
    came: threading.Semaphore = field(factory=lambda: threading.Semaphore(0))

    def sequence(self) -> list[int]:
        """The `seq` of all events taken, in the order they came."""
        return [event["seq"] for body in self.bodies for event in body["events"]]

    def wait(self, count: int) -> None:
        for _ in range(count):
            assert self.came.acquire(timeout=10)


@pytest.fixture
def collector() -> Iterator[Collector]:
    found = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = found.answers.pop(0) if found.answers else 200
            if status == 200:
                found.bodies.append(json.loads(body))
                found.headers.append(dict(self.headers))
            if status:
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()
            found.came.release()

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}/ingest"
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


def tracker_to(collector: Collector, **options: Any) -> HttpTracker:
    defaults: dict[str, Any] = {
        "env": "test",
        "service_key": "key",
        "interval": 0.01,
        "backoff": 0.01,
        "timeout": 5.0,
    }
    return HttpTracker(endpoint=collector.url, **{**defaults, **options})


def test_S_65_a_batch_is_posted_in_the_originals_format(collector: Collector) -> None:
    tracker = tracker_to(collector, headers={"X-Tenant": "t"})

    tracker.emit([terminated(1), terminated(2)])
    tracker.close(10)

    (body,) = collector.bodies
    event = body["events"][0]
    assert list(event)[:8] == [
        "eventId",
        "timestamp",
        "source",
        "instanceId",
        "jobType",
        "jobName",
        "id",
        "type",
    ]
    assert event["timestamp"] == "2023-11-14T22:13:20.000Z"
    assert event["type"] == "job.terminated"
    assert (event["env"], event["serviceKey"]) == ("test", "key")
    assert collector.headers[0]["Content-Type"] == "application/json"
    assert collector.headers[0]["X-Tenant"] == "t"
    assert (tracker.sent, tracker.dropped) == (2, 0)


@pytest.mark.parametrize("include_state", [True, False])
def test_S_65_what_is_not_sent_is_not_held(collector: Collector, include_state: bool) -> None:
    tracker = tracker_to(collector, include_state=include_state, interval=60)
    state = Stored(1, {"secret": 1})

    tracker.emit([executed(seq, state) for seq in (1, 2, 3)])

    held = [event.state for event in tracker._buffer if isinstance(event, JobExecuted)]
    tracker.close(10)
    assert held == [state if include_state else None] * 3
    assert collector.sequence() == [1, 2, 3]


def test_S_65_state_and_input_are_sent_only_if_asked_for(collector: Collector) -> None:
    started = JobStarted(key=KEY, at=0, life=1, seq=1, input={"secret": 1})
    for include_state in (False, True):
        tracker = tracker_to(collector, include_state=include_state)
        tracker.emit([started, executed(2, Stored(1, {"secret": 1}))])
        tracker.close(10)

    without, included = collector.bodies
    assert "secret" not in json.dumps(without)
    assert included["events"][0]["input"] == {"secret": 1}
    assert included["events"][1]["preExecutionState"] == {"secret": 1}


def test_failed_and_hung_up_requests_are_sent_again_in_order(collector: Collector) -> None:
    collector.answers = [500, 0, 503]
    tracker = tracker_to(collector, batch_size=1)

    tracker.emit([terminated(1), terminated(2)])
    collector.wait(5)
    tracker.close(10)

    assert collector.sequence() == [1, 2]
    assert tracker.dropped == 0


def test_a_collector_that_stays_away_costs_only_counted_drops(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    collector.url += "?key=secret"
    collector.answers = [500] * 3
    tracker = tracker_to(collector, attempts=3)

    tracker.emit([terminated(1)])
    collector.wait(3)
    tracker.close(10)

    assert collector.bodies == []
    assert (tracker.sent, tracker.dropped) == (0, 1)
    where = collector.url.replace("secret", "***")
    assert caplog.messages == [f"1 telemetry events for {where} were dropped: the collector answered 500"]


def test_S_65_what_a_collector_refuses_for_good_is_sent_once_and_holds_up_nothing(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    collector.answers = [400, 404, 413, 404, 499]
    tracker = tracker_to(collector, batch_size=1, backoff=30.0)

    tracker.emit([terminated(seq) for seq in range(1, 7)])
    collector.wait(6)
    tracker.close(10)

    assert collector.sequence() == [6]
    assert (tracker.sent, tracker.dropped) == (1, 5)
    assert [text.replace(f" telemetry events for {collector.url} were", "") for text in caplog.messages] == [
        "1 dropped: the collector answered 400",  # at once, the others seldom
        "2 dropped: the collector answered 404",
        "1 dropped: the collector answered 413",
        "1 dropped: the collector answered 499",
    ]


def test_S_65_what_a_collector_may_take_later_is_sent_again(collector: Collector) -> None:
    collector.answers = [408, 425, 429, 399, 500]
    tracker = tracker_to(collector)

    tracker.emit([terminated(1)])
    collector.wait(6)
    tracker.close(10)

    assert (collector.sequence(), tracker.dropped) == ([1], 0)


def test_the_buffer_is_bounded_and_drops_the_oldest() -> None:
    tracker = HttpTracker(
        endpoint="http://127.0.0.1:9/", env="test", service_key="key", buffer_size=3, attempts=1
    )

    tracker._thread = threading.current_thread()  # nobody sends
    tracker.emit([terminated(seq) for seq in range(5)])

    assert [event.seq for event in tracker._buffer] == [2, 3, 4]
    assert tracker.dropped == 2


def test_what_a_full_buffer_drops_is_said_at_once_then_seldom_and_at_the_end(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_tracker, "TELL_SECONDS", 1e6)  # no time passes unless it is said
    answers = iter(["away", "away", None, "away"])

    class Away(HttpTracker):
        def _post(self, body: bytes, timeout: float) -> tuple[str | None, bool]:
            why = next(answers)
            return why, why is None

    tracker = Away(endpoint="http://x/", env="test", service_key="key", buffer_size=1, attempts=1)
    tracker._thread = threading.current_thread()  # nobody sends but this test
    said: list[list[str]] = []
    for number in (2, 3, 4, 5):
        tracker.emit([terminated(0)] * number)
        if number == 4:
            tracker._tells_overflow._rests_until = 0.0  # time has passed
        tracker._send([terminated(0)])
        said.append(list(caplog.messages))
        caplog.clear()
    tracker._thread = None
    tracker.close(0)
    said.append(caplog.messages)

    dropped = "telemetry events for http://x/ were dropped"
    assert said == [
        [f"1 {dropped}: more than 1 waited (away)"],
        [],
        [f"7 {dropped}: more than 1 waited (the collector is slow)"],
        [],
        [f"5 {dropped}: more than 1 waited (the runtime closed)", f"1 {dropped}: the runtime closed"],
    ]
    assert tracker.dropped == 14


def test_S_65_events_are_sent_a_batch_at_a_time_as_soon_as_it_is_full(collector: Collector) -> None:
    tracker = tracker_to(collector, batch_size=2, interval=60.0)

    for seq in (1, 3):
        tracker.emit([terminated(seq)])
        tracker.emit([terminated(seq + 1)])
        collector.wait(1)
    tracker.close(10)

    assert [[event["seq"] for event in body["events"]] for body in collector.bodies] == [[1, 2], [3, 4]]


def test_S_65_an_event_that_comes_after_a_rest_is_sent_without_a_close(collector: Collector) -> None:
    tracker = tracker_to(collector)

    for seq in (1, 2):
        tracker.emit([terminated(seq)])
        collector.wait(1)
        while not tracker._wake._waiters:
            pass  # the sender has not come to rest

    assert collector.sequence() == [1, 2]
    tracker.close(10)


def test_closing_takes_no_longer_than_it_may(collector: Collector) -> None:
    collector.answers = [500] * 1000
    tracker = tracker_to(collector, attempts=1000, backoff=30.0)

    tracker.emit([terminated(1)])
    collector.wait(1)
    tracker.close(0.05)

    assert tracker.dropped == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 404])
def test_S_65_a_redirect_is_a_refusal_counted_and_said(
    collector: Collector, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    collector.answers = [status]
    tracker = tracker_to(collector, attempts=1)

    tracker.emit([terminated(1)])
    collector.wait(1)
    tracker.close(10)

    assert (tracker.sent, tracker.dropped) == (0, 1)
    assert f"were dropped: the collector answered {status}" in caplog.text


def test_S_65_text_that_is_no_text_is_sent_like_any_other(collector: Collector) -> None:
    tracker = tracker_to(collector, env="\udcff")

    tracker.emit([terminated(1)])
    collector.wait(1)
    tracker.close(10)

    assert collector.bodies[0]["events"][0]["env"] == "\udcff"
    assert tracker.sent == 1


def test_S_65_a_collector_that_hangs_is_not_waited_for_and_what_it_had_is_counted_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:  # takes connections, never answers
        tracker = HttpTracker(
            endpoint=f"http://127.0.0.1:{server.getsockname()[1]}/",
            env="test",
            service_key="key",
            interval=0.01,
        )
        tracker.emit([terminated(1)])
        sender = tracker._thread
        assert sender is not None
        hung, _ = server.accept()

        tracker.close(0)
        assert tracker.dropped == 1
        hung.close()
        sender.join(10)

    assert not sender.is_alive()
    assert sender.daemon, "nor does the end of the process wait for it"
    assert (tracker.sent, tracker.dropped) == (0, 1)


def test_S_65_a_try_takes_no_longer_than_it_may() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:  # takes connections, never answers
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        tracker = HttpTracker(endpoint=url, env="test", service_key="key", attempts=1, timeout=0.05)
        tracker._thread = threading.current_thread()

        assert tracker._send([terminated(1)]) == "TimeoutError: timed out"


def test_a_tracker_may_serve_one_runtime_after_another(collector: Collector) -> None:
    tracker = tracker_to(collector)

    for seq in (1, 2):
        tracker.emit([terminated(seq)])
        collector.wait(1)
        tracker.close(0)

    assert collector.sequence() == [1, 2]


def test_S_65_a_tracker_whose_thread_is_gone_as_in_a_forked_child_begins_another(
    collector: Collector,
) -> None:
    tracker, gone = tracker_to(collector), threading.Thread(target=lambda: None)
    gone.start()
    gone.join()
    tracker._thread = gone

    tracker.emit([terminated(1)])
    collector.wait(1)
    tracker.close(10)

    assert (tracker.sent, tracker.dropped) == (1, 0)


def test_a_bad_endpoint_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match=r"endpoint: expected an http\(s\) URL, got 'ftp://x'"):
        HttpTracker(endpoint="ftp://x", env="test", service_key="key")


def a_failure(key: Key, failure: Failure) -> JobFailed:
    return JobFailed(
        key=key,
        at=0,
        life=1,
        seq=1,
        hook="execute",
        run=1,
        run_count=1,
        attempt=2,
        will_retry=True,
        failure=failure,
        state=None,
    )


def test_failures_are_logged_as_warnings_with_their_values(caplog: pytest.LogCaptureFixture) -> None:
    failure = Failure("ValueError", "boom\n  of two lines", '  File "handlers.py", line 1, in refresh')
    failed = a_failure(KEY, failure)

    with caplog.at_level(logging.INFO, "durable_jobs"):
        LoggingTracker().emit([failed, terminated(2)])

    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        "job.failed continuous:refresh:user-1 runCount=1 attempt=2 willRetry=True run=1 hook='execute': "
        'ValueError: boom\n    of two lines\n    File "handlers.py", line 1, in refresh'
    )
    assert record.__dict__["durable_jobs"]["error"]["message"] == "boom\n  of two lines"


def test_S_6_newer_records_of_a_job_are_warned_of_seldom_however_many_there_are(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(trackers_module.time, "monotonic", lambda: now)
    tracker = LoggingTracker()

    def newer(job: str, id: str) -> JobNewer:
        key = Key("continuous", job, id)
        return JobNewer(key=key, at=0, life=0, seq=None, what="schema", found=2, known=1)

    with caplog.at_level(logging.INFO, "durable_jobs"):
        tracker.emit([newer("one", "a"), newer("one", "b"), newer("two", "a")])
        now = 59.0
        tracker.emit([newer("one", "a")])
        now = 60.0
        tracker.emit([newer("one", "b")])

    told = [" ".join(message.split()[:2]) for message in caplog.messages]
    assert told == [f"job.newer continuous:{key}" for key in ("one:a", "two:a", "one:b")]


def test_a_job_that_nobody_registered_is_named_without_an_id(caplog: pytest.LogCaptureFixture) -> None:
    key = Key("task", "orders", "")
    with caplog.at_level(logging.WARNING, "durable_jobs"):
        LoggingTracker().emit([JobUnregistered(key=key, at=0, life=0, seq=None)])

    assert caplog.messages == ["job.unregistered task:orders"]


def test_what_is_no_failure_is_logged_for_who_wants_to_see_all(caplog: pytest.LogCaptureFixture) -> None:
    for level in (logging.INFO, logging.DEBUG):
        with caplog.at_level(level, "durable_jobs"):
            LoggingTracker().emit([terminated(2)])

    (record,) = caplog.records
    assert record.levelno == logging.DEBUG
    assert record.getMessage() == "job.terminated continuous:refresh:user-1 reason='bye' runCount=1"


def test_an_id_and_an_error_forge_no_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    key = Key("task", "orders", "7\nERROR the store went back\x1b[2J")
    failure = Failure("ValueError", "\x1b]0;mine\x07\rERROR", None)
    failed = a_failure(key, failure)

    with caplog.at_level(logging.WARNING, "durable_jobs"):
        LoggingTracker().emit([failed])
        trackers_module.say(logging.WARNING, "%s of %s: %d", "\rexecute", key, 1)

    assert [one.getMessage().splitlines() for one in caplog.records] == [
        [
            r"job.failed task:orders:7\nERROR the store went back\x1b[2J runCount=1 attempt=2 willRetry=True"
            r" run=1 hook='execute': ValueError: \x1b]0;mine\x07",
            "  ERROR",
        ],
        [r"\rexecute of task:orders:7\nERROR the store went back\x1b[2J: 1"],
    ]
    assert caplog.records[0].__dict__["durable_jobs"]["id"] == key.id


class Sleepless(threading.Condition):
    """A condition in which nobody may wait."""

    def wait(self, timeout: float | None = None) -> bool:
        raise AssertionError(f"it waits for {timeout} s")


def test_S_65_nothing_is_waited_for_after_the_last_try_of_a_batch(collector: Collector) -> None:
    collector.answers = [500]
    tracker = tracker_to(collector, attempts=1, backoff=30.0)
    tracker._wake = Sleepless()
    tracker._thread = threading.current_thread()

    assert tracker._send([terminated(1)]) == "the collector answered 500"


def test_S_65_a_backoff_is_kept_however_many_events_come_meanwhile(collector: Collector) -> None:
    collector.answers = [500]
    tracker = tracker_to(collector, batch_size=1, backoff=0.2)

    began = time.monotonic()
    tracker.emit([terminated(1)])
    collector.wait(1)
    while not collector.came.acquire(timeout=0.001):
        tracker.emit([terminated(2)])
    took = time.monotonic() - began
    tracker.close(10)

    assert took >= 0.2


def test_S_65_a_collector_that_is_away_for_long_costs_batches_and_not_the_sender() -> None:
    tries: list[float] = []

    class Away(HttpTracker):
        def _post(self, body: bytes, timeout: float) -> tuple[str | None, bool]:
            tries.append(timeout)
            return "away", False

    tracker = Away(endpoint="http://x/", env="test", service_key="key", attempts=1100, backoff=0.0)
    tracker._thread = threading.current_thread()

    assert tracker._send([terminated(1)]) == "away"
    assert len(tries) == 1100


def test_S_65_what_cannot_be_written_is_dropped_and_the_next_batch_is_sent(collector: Collector) -> None:
    class Bad(JobTerminated):
        def wire(self, *, with_state: bool = False) -> dict[str, Any]:
            raise RecursionError("too deep")

    tracker = tracker_to(collector, batch_size=1)

    tracker.emit([Bad(key=KEY, at=0, life=7, seq=1, reason="bye", run_count=1), terminated(2)])
    collector.wait(1)
    tracker.close(10)

    assert collector.sequence() == [2]
    assert (tracker.sent, tracker.dropped) == (1, 1)


class Raising(logging.Handler):
    """A handler that lets its errors out."""

    def emit(self, record: logging.LogRecord) -> None:
        raise RuntimeError("the disk of the log is full")


@pytest.fixture
def raising_log() -> Iterator[None]:
    logger, handler = logging.getLogger("durable_jobs"), Raising()
    logger.addHandler(handler)
    yield
    logger.removeHandler(handler)


@pytest.mark.usefixtures("raising_log")
def test_S_65_a_log_that_raises_does_not_end_the_sender(collector: Collector) -> None:
    collector.answers = [500]
    tracker = tracker_to(collector, batch_size=1, attempts=1)

    tracker.emit([terminated(1), terminated(2)])
    collector.wait(2)
    tracker.close(10)

    assert (tracker.sent, tracker.dropped) == (1, 1)


@pytest.mark.usefixtures("raising_log")
@pytest.mark.parametrize("error", [RuntimeError, SystemExit, GeneratorExit])
def test_S_65_trackers_never_raise_though_the_log_does(error: type[BaseException]) -> None:
    class Broken(MemoryTracker):
        def emit(self, events: object) -> None:
            raise error

        def close(self, timeout: float) -> None:
            raise error

    broken, sound = Broken(), MemoryTracker()
    trackers = Trackers([broken, LoggingTracker(), sound])

    trackers.emit([JobQuarantined(key=KEY, at=0, life=0, seq=None, why="checksum")])
    trackers.close(10)

    assert len(sound.events) == 1
    assert trackers.dropped == 2


def test_a_tracker_that_goes_on_failing_is_told_of_at_once_and_then_seldom(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([0.0, 0.0, 1.0, 1.0, 9.0, 9.0, 10.0, 10.0, 11.0, 11.0])
    monkeypatch.setattr(trackers_module.time, "monotonic", lambda: next(times))

    class Broken(MemoryTracker):
        def emit(self, events: object) -> None:
            raise RuntimeError("the collector is away")

    trackers = Trackers([Broken(), Broken()])
    said: list[int] = []
    for _ in range(5):
        trackers.emit([terminated(1)])
        said.append(len(caplog.messages))
        assert "the collector is away" in caplog.text or not caplog.messages
        caplog.clear()

    assert said == [2, 0, 0, 2, 0]
    assert trackers.dropped == 10


def test_S_67_a_tracker_that_hangs_holds_up_neither_the_shutdown_nor_the_others(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trackers_module, "CLOSE_MARGIN", 0.0)
    release, closed = threading.Event(), threading.Event()

    class Hanging(MemoryTracker):
        def close(self, timeout: float) -> None:
            release.wait(20)

    class Other(MemoryTracker):
        def close(self, timeout: float) -> None:
            closed.set()

    Trackers([Hanging(), Other()]).close(0.05)
    release.set()

    assert closed.wait(10)
    assert "did not close in 0.05 s, and is left behind" in caplog.text


def test_S_67_a_tracker_that_takes_all_its_time_to_close_is_not_left_behind(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trackers_module, "CLOSE_MARGIN", 10.0)
    release, closed = threading.Event(), list[bool]()

    class Slow(MemoryTracker):
        def close(self, timeout: float) -> None:
            closed.append(release.wait(10))

    threading.Timer(0.03, release.set).start()
    Trackers([Slow()]).close(0.0)

    assert closed == [True]
    assert caplog.messages == []


def test_S_67_trackers_are_closed_where_no_thread_starts_any_more_as_in_an_atexit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    closed: list[float] = []

    class Closing(MemoryTracker):
        def close(self, timeout: float) -> None:
            closed.append(timeout)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    Trackers([Closing(), Closing()]).close(0.05)

    assert closed == [0.05, 0.05]
