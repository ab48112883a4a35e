"""The peers, and what ours is compared with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from benchmarks.peers.driving import measure, measure_alone, of_ours, of_peer
from benchmarks.table import THROUGH, Figures, Measure, Part, Size, rates

OURS = "durable-jobs"
LITEQUEUE = "litequeue"


def _peer(
    kind: str, name: str, *, share: float = 1.0, short: bool = False, how: Callable[..., Figures] = measure
) -> Measure:
    return Measure(name, partial(how, partial(of_peer, name.lower()), kind), share, short)


_SQLITE = [
    Measure(OURS, partial(measure_alone, partial(of_ours, "sqlite"), "sqlite")),
    _peer("sqlite", LITEQUEUE, short=True),
    _peer("sqlite", "Huey", short=True),
    _peer("sqlite", "APScheduler", share=0.1, how=measure_alone),
    _peer("sqlite", "DBOS", share=0.1),
]
_REDIS = [
    Measure(OURS, partial(measure, partial(of_ours, "redis"), "redis")),
    _peer("redis", "Dramatiq", short=True),
    _peer("redis", "taskiq", short=True),
    _peer("redis", "SAQ"),
    _peer("redis", "arq", share=0.5),
    _peer("redis", "streaq", share=0.5),
    _peer("redis", "Celery", share=0.5),
    _peer("redis", "RQ", share=0.1),
]


def _names(measures: list[Measure], *without: str) -> list[str]:
    return [measure.name for measure in measures if measure.name not in without]


SQLITE = Part(
    "sqlite",
    "beside other libraries on SQLite: ours end to end in one process",
    _SQLITE,
    [
        rates("sqlite_vs_best_peer", [THROUGH], [(OURS, _names(_SQLITE, OURS, LITEQUEUE))], 5.0),
        rates("sqlite_vs_litequeue", [THROUGH], [(OURS, [LITEQUEUE])], 2.0),
    ],
    full=Size(5, 5_000),
    short=Size(3, 600),
)
REDIS = Part(
    "redis",
    "beside other libraries on Redis: one producer and one worker process",
    _REDIS,
    [rates("redis_vs_best_peer", [THROUGH], [(OURS, _names(_REDIS, OURS))], 5.0)],
    full=Size(5, 5_000),
    short=Size(3, 600),
)
