"""Worker processes, under each driver, share the due runs of one store; they come and go under load."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest
from crash.log import read
from soak.share import Worker, fill, in_store, overlaps, share
from support.drivers import DRIVERS
from support.needs import A_REDIS
from support.redis_servers import PROGRAMS, shared

RUNS = 500
LONG = 3
BATCH = 60
PATIENCE_SECONDS = 25.0


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=A_REDIS)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A store of each kind; the server's in several shards."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'jobs.db'}"
        return
    server = shared(PROGRAMS[0])
    yield f"{server.url}/0?namespace=share&shards=5"
    with server.client() as client:
        client.flushall()


def test_S_11_I_3_two_processes_on_one_store_make_each_run_once(tmp_path: Path, url: str) -> None:
    result = share(tmp_path, workers=2, runs=RUNS, least=0, url=url)

    assert [fault for fault in result.faults if "exchange" not in fault] == []
    assert sum(result.parts.values()) == RUNS


def wait_until(done: Callable[[], bool]) -> None:
    """Wait for what other processes do."""
    until = time.monotonic() + PATIENCE_SECONDS
    while not done():
        assert time.monotonic() < until, "it does not come"
        time.sleep(0.01)


@pytest.mark.timeout(180)
def test_S_67_S_14_workers_come_and_go_under_load_and_every_run_is_made_once(
    tmp_path: Path, url: str
) -> None:
    """What a worker that leaves did not hand back would count as a crash of the run, half a minute later."""
    names = [f"long-{n}" for n in range(LONG)]
    fill(url, names)
    with ExitStack() as stack:
        crew = [Worker(tmp_path, f"worker {n}", url, DRIVERS[n % 2]) for n in range(4)]
        for worker in crew:
            stack.callback(worker.kill)
            worker.await_ready()

        def load() -> None:
            more = [f"{len(names) + n}" for n in range(BATCH)]
            names.extend(more)
            fill(url, more)

        crew[0].go()
        codes = []
        for leaves, joins in pairwise(crew):
            wait_until(lambda worker=leaves: worker.count(b"began", b"long") == LONG)
            joins.go()
            until = time.monotonic() + PATIENCE_SECONDS
            while not joins.count():
                assert time.monotonic() < until, "who joins is given nothing"
                load()
            load()
            codes.append(leaves.leave())
        wait_until(lambda: crew[-1].count(b"began", b"long") == LONG)
        (tmp_path / "enough").touch()
        wait_until(lambda: sum(worker.count() for worker in crew) == len(names))
        codes.append(crew[-1].leave())

    logs = {worker.log.stem: read(worker.log) for worker in crew}
    done = {name: [line for line in log if line["what"] == "ran"] for name, log in logs.items()}
    begun = [line for log in logs.values() for line in log if line["what"] == "began"]
    times = Counter(line["key"].rpartition(":")[2] for line in begun)
    assert codes == [0] * len(crew)
    assert {(line["attempt"], line["crashes"]) for line in begun} == {(1, 0)}
    assert [times[name] for name in names[:LONG]] == [len(crew)] * LONG
    assert {*overlaps(done), *in_store(url, len(names))} == set()
