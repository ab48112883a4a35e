"""The arguments of `open_runtime` and of trackers are checked whole, before anything is begun (S-62)."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from durable_jobs_memory import MemoryBackend
from durable_jobs_runtime import FileJournal, HttpTracker, MemoryTracker, open_backend
from support.drivers import Driver
from support.one_job import Nothing, one_job

from durable_jobs_core import ContinuousContext, Key, StorageError, ValidationError
from durable_jobs_core.engine import Limits

JOBS = one_job()
NAN, INF = float("nan"), float("inf")


class Refusing(MemoryBackend):
    """Notes whether anybody asked for anything."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def exchange(self, *args: Any) -> Any:
        self.asked.append("exchange")
        return super().exchange(*args)

    def health(self) -> Any:
        self.asked.append("health")
        return super().health()

    def close(self) -> None:
        self.asked.append("close")
        super().close()


class Awaited(MemoryTracker):
    """A tracker that nobody would await."""

    async def emit(self, events: Any) -> None:  # type: ignore[override]
        raise NotImplementedError

    def __repr__(self) -> str:
        return "Awaited()"


class Laneless(MemoryBackend):
    """A backend of no lanes."""

    lanes = 0


def limits(**given: Any) -> dict[str, Any]:
    return {"limits": Limits(**given)}


A_DURATION = 'expected a duration such as "30 minutes", "1h30m", "PT30M" or a timedelta, got '

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"grace": 5}, f"grace: {A_DURATION}int 5"),
    ({"grace": None}, f"grace: {A_DURATION}NoneType None"),
    ({"grace": True}, f"grace: {A_DURATION}bool True"),
    ({"grace": NAN}, f"grace: {A_DURATION}float nan"),
    ({"grace": "soon"}, f"grace: {A_DURATION.removesuffix(', got ')} (the units are "),
    ({"grace": timedelta(seconds=-1)}, "grace: expected a duration from zero to 8,029 years, got "),
    ({"grace": timedelta(microseconds=1)}, "grace: expected whole milliseconds, got "),
    ({"request_timeout": "0 s"}, "request_timeout: expected at least 1 ms, got '0 s'"),
    ({"request_timeout": timedelta(0)}, "request_timeout: expected at least 1 ms, got "),
    ({"request_timeout": 30}, f"request_timeout: {A_DURATION}int 30"),
    ({"worker": "no"}, "worker: expected True or False, got str 'no'"),
    ({"worker": 1}, "worker: expected True or False, got int 1"),
    ({"journal": "incident.jsonl"}, "journal: expected a FileJournal or None, got str 'incident.jsonl'"),
    ({"trackers": MemoryTracker()}, "trackers: expected a sequence of trackers, got MemoryTracker "),
    ({"trackers": "http://collector"}, "trackers: expected a sequence of trackers, got str "),
    ({"trackers": None}, "trackers: expected a sequence of trackers, got NoneType None"),
    (
        {"trackers": [MemoryTracker(), print]},
        "trackers[1]: expected a tracker, with plain methods emit, close, got ",
    ),
    (
        {"trackers": [MemoryTracker]},
        "trackers[0]: expected a tracker, with plain methods emit, close, got type ",
    ),
    (
        {"trackers": [Awaited()]},
        "trackers[0]: expected a tracker, with plain methods emit, close, got Awaited ",
    ),
    ({"limits": {"concurrency": 3}}, "limits: expected Limits or None, got dict "),
    (
        limits(per_job={("task", "job"): 1}),
        "limits.per_job: expected a registered job, one of ('continuous', 'job'), got tuple ('task', 'job')",
    ),
    (limits(per_job={"job": 1}), "limits.per_job: expected a registered job, one of "),
]


def refusal(driver: Driver, *args: Any, **options: Any) -> str:
    """What `open_runtime` raises at once."""

    async def main() -> None:
        async with driver.open(*args, **options):
            pass

    with pytest.raises(ValidationError) as raised:
        driver.run(main)
    return str(raised.value)


@pytest.mark.parametrize(("options", "said"), WRONG, ids=[said[:60] for _, said in WRONG])
def test_S_62_a_wrong_option_is_refused_before_anything_is_opened(
    driver: Driver, options: dict[str, Any], said: str
) -> None:
    backend = Refusing()

    text = refusal(driver, JOBS, backend, **options)

    assert text.startswith(f"open_runtime opened nothing: {said}")
    assert text.endswith(" (nothing was changed)")
    assert backend.asked == []


A_BACKEND = (
    "backend: expected a URL or an open backend, "
    "with plain methods lane, exchange, scan, wait, health, close, got "
)


@pytest.mark.parametrize(
    ("jobs", "backend", "said"),
    [
        ({}, "memory://", "jobs: expected what create_durable_jobs returns, got dict {}"),
        (
            JOBS,
            Path("jobs.db"),
            f"{A_BACKEND}PosixPath ",
        ),
        (
            JOBS,
            None,
            f"{A_BACKEND}NoneType None",
        ),
        (
            JOBS,
            MemoryBackend,
            f"{A_BACKEND}type ",
        ),
        (JOBS, Laneless(), "backend.lanes: expected a whole number, 1 or more, got int 0"),
    ],
)
def test_S_62_jobs_and_backend_are_checked_too(driver: Driver, jobs: Any, backend: Any, said: str) -> None:
    assert refusal(driver, jobs, backend).startswith(f"open_runtime opened nothing: {said}")


def test_S_62_all_that_is_wrong_is_said_at_once_and_no_file_is_made(driver: Driver, tmp_path: Path) -> None:
    file = tmp_path / "jobs.db"

    text = refusal(driver, JOBS, f"sqlite:///{file}", grace=1, request_timeout=2, limits=5)

    assert [part.split(":")[0] for part in text.split(": ", 1)[1].split("; ")] == [
        "limits",
        "grace",
        "request_timeout",
    ]
    assert not file.exists()


def test_zero_is_a_wait_that_ends_at_once_and_the_longest_spans_are_taken(driver: Driver) -> None:
    ran: list[int] = []

    async def execute(ctx: ContinuousContext[Nothing]) -> None:
        ran.append(ctx.run_count)

    async def main() -> None:
        async with driver.open(
            one_job(execute),
            "memory://",
            grace="0 s",
            request_timeout=timedelta(days=2_900_000),
            limits=Limits(concurrency=1, cache_bytes=0, settle=0, per_job={("continuous", "job"): 0}),
        ) as runtime:
            client = runtime.client.continuous("job")
            await client.start("a", Nothing())
            await runtime.run_until_idle()
            assert (await client.trigger("a", wait="0 s")).outcome == "pending"

    driver.run(main)
    assert ran == []


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"limit": 0}, "limit: expected a whole number, 1 to 1,000, got int 0"),
        ({"limit": 1_001}, "limit: expected a whole number, 1 to 1,000, got int 1001"),
        ({"limit": "all"}, "limit: expected a whole number, 1 to 1,000, got str 'all'"),
        ({"after": 5}, "after: expected text or None, got int 5"),
        ({"after": "page 2"}, "after: expected what the page before gave, got str 'page 2'"),
        ({"job": 5}, "job: expected text or None, got int 5"),
        ({"kind": "tasks"}, "kind: expected one of continuous, debounce, task, or None, got str 'tasks'"),
        (
            {"status": "runing"},
            "status: expected one of quarantined, parked, paused, running, not_found, flushing, debouncing, "
            "idle, active, or None, got str 'runing'",
        ),
    ],
)
def test_S_62_S_66_a_listing_that_would_be_empty_by_mistake_is_refused(
    driver: Driver, query: dict[str, Any], said: str
) -> None:
    async def main() -> None:
        async with driver.open(JOBS, "memory://") as runtime:
            with pytest.raises(ValidationError) as raised:
                await runtime.client.list(**query)
            assert str(raised.value) == f"list: {said} (nothing was changed)"

    driver.run(main)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("reddis://me:se/cret@host/0", "reddis://***@host/0"),
        ("redis:/me:secret@host", "redis:/***@host"),
        ("redis+sentinal://host/a?sentinel_password=secret&db=1", "host/a?sentinel_password=***&db=1"),
    ],
)
def test_an_unknown_backend_is_named_without_its_password(url: str, shown: str) -> None:
    with pytest.raises(StorageError) as raised:
        open_backend(url)

    assert shown in str(raised.value)
    assert "cret" not in str(raised.value)


@pytest.mark.parametrize("max_bytes", [0, -1, True, 1e6, "64 MB"])
def test_a_journal_of_no_size_is_refused(tmp_path: Path, max_bytes: Any) -> None:
    with pytest.raises(
        ValidationError, match="FileJournal: max_bytes: expected a whole number, 2 or more, got "
    ):
        FileJournal(tmp_path / "incident.jsonl", max_bytes=max_bytes)


@pytest.mark.parametrize("of", [5, None, b"orders", ["orders", 5], [Key("task", "orders", "7")]])
def test_a_journal_of_what_is_no_text_is_refused(tmp_path: Path, of: Any) -> None:
    with pytest.raises(ValidationError, match="FileJournal: of: expected a text or a list of texts, got "):
        FileJournal(tmp_path / "incident.jsonl", of=of)


def test_a_journal_at_what_is_no_path_is_refused() -> None:
    path: Any = 5
    with pytest.raises(ValidationError, match="FileJournal: path: expected a path, got int 5"):
        FileJournal(path)


# -- the HTTP tracker

SECONDS = "expected a number of seconds"
WRONG_TRACKERS: list[tuple[dict[str, Any], str]] = [
    ({"endpoint": 5}, "endpoint: expected an http(s) URL, got int 5"),
    ({"endpoint": "http://"}, "endpoint: expected an http(s) URL, got 'http://'"),
    ({"endpoint": "http://[::1"}, "endpoint: expected an http(s) URL, got 'http://[::1'"),
    ({"endpoint": "http://host:port/"}, "endpoint: expected an http(s) URL, got 'http://host:port/'"),
    ({"endpoint": "http://host/a b"}, "endpoint: expected an http(s) URL, got 'http://host/a b'"),
    ({"endpoint": "ftp://host/?key=secret"}, "endpoint: expected an http(s) URL, got 'ftp://host/?key=***'"),
    (
        {"endpoint": "https://me:secret@host/"},
        "endpoint: expected no user and password, which go into headers=, got 'https://***@host/'",
    ),
    ({"env": None}, "env: expected a str, got NoneType"),
    ({"service_key": b"secret"}, "service_key: expected a str, got bytes"),
    ({"headers": [("a", "b")]}, "headers: expected texts by name, got list"),
    ({"headers": {"X-Key": 1}}, "headers['X-Key']: expected text of one line, got int"),
    ({"headers": {"X-Key": "secret\r\nHost: x"}}, "headers['X-Key']: expected text of one line, got str"),
    ({"headers": {"X Key": "1"}}, "headers: expected names of letters, digits and dashes, got 'X Key'"),
    ({"headers": {1: "1"}}, "headers: expected names of letters, digits and dashes, got 1"),
    ({"include_state": "no"}, "include_state: expected True or False, got str 'no'"),
    ({"batch_size": 0}, "batch_size: expected a whole number, 1 or more, got int 0"),
    ({"batch_size": 2.5}, "batch_size: expected a whole number, 1 or more, got float 2.5"),
    ({"buffer_size": 0}, "buffer_size: expected a whole number, 1 or more, got int 0"),
    ({"buffer_size": True}, "buffer_size: expected a whole number, 1 or more, got bool True"),
    ({"attempts": -1}, "attempts: expected a whole number, 1 or more, got int -1"),
    ({"timeout": 0}, f"timeout: {SECONDS} from 0.001 to 31,536,000, got int 0"),
    ({"timeout": INF}, f"timeout: {SECONDS} from 0.001 to 31,536,000, got float inf"),
    ({"timeout": "10 s"}, f"timeout: {SECONDS} from 0.001 to 31,536,000, got str '10 s'"),
    ({"interval": NAN}, f"interval: {SECONDS} from 0 to 31,536,000, got float nan"),
    ({"interval": -1}, f"interval: {SECONDS} from 0 to 31,536,000, got int -1"),
    ({"interval": True}, f"interval: {SECONDS} from 0 to 31,536,000, got bool True"),
    ({"backoff": -0.1}, f"backoff: {SECONDS} from 0 to 31,536,000, got float -0.1"),
]


@pytest.mark.parametrize(("options", "said"), WRONG_TRACKERS, ids=[said[:60] for _, said in WRONG_TRACKERS])
def test_S_65_a_tracker_that_could_never_send_is_refused(options: dict[str, Any], said: str) -> None:
    given: dict[str, Any] = {
        "endpoint": "http://127.0.0.1:9/",
        "env": "test",
        "service_key": "key",
        **options,
    }

    with pytest.raises(ValidationError, match="HttpTracker") as raised:
        HttpTracker(**given)

    assert str(raised.value) == f"HttpTracker: {said} (nothing was changed)"
    assert "secret" not in str(raised.value)


def test_S_65_a_tracker_with_nothing_to_send_sleeps_though_its_interval_is_zero() -> None:
    waits: list[float | None] = []

    class Noted(threading.Condition):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout)
            tracker._closing_at = 0.0
            return False

    tracker = HttpTracker(endpoint="http://127.0.0.1:9/", env="test", service_key="key", interval=0)
    tracker._wake = Noted()
    tracker._thread = threading.current_thread()

    assert tracker._next() == []
    assert waits == [None]
