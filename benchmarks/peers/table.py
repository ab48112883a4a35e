"""The peers, and what ours is compared with."""

from __future__ import annotations

from functools import partial

from benchmarks.peers.driving import measure, measure_alone, of_ours, of_peer
from benchmarks.table import THROUGH, Measure, Part, Ratio, Size

OURS = "durable-jobs"
LITEQUEUE = "litequeue"


def _peer(kind: str, name: str, *, share: float = 1.0, short: bool = False) -> Measure:
    script = name.lower().replace(" ", "_")
    return Measure(name, partial(measure, partial(of_peer, script), kind), share, short)


_SQLITE = [
    Measure(OURS, partial(measure_alone, partial(of_ours, "sqlite"), "sqlite")),
    _peer("sqlite", LITEQUEUE, short=True),
    _peer("sqlite", "Huey", short=True),
]
_REDIS = [
    Measure(OURS, partial(measure, partial(of_ours, "redis"), "redis")),
    _peer("redis", "Dramatiq", short=True),
    _peer("redis", "taskiq", short=True),
]


def _names(measures: list[Measure], *without: str) -> list[str]:
    return [measure.name for measure in measures if measure.name not in without]


SQLITE = Part(
    "sqlite",
    "beside other libraries on SQLite: ours end to end in one process",
    _SQLITE,
    [
        Ratio("sqlite_vs_best_peer", [THROUGH], [(OURS, _names(_SQLITE, OURS, LITEQUEUE))], 5.0),
        Ratio("sqlite_vs_litequeue", [THROUGH], [(OURS, [LITEQUEUE])], 2.0),
    ],
    full=Size(5, 5_000),
    short=Size(3, 600),
)
REDIS = Part(
    "redis",
    "beside other libraries on Redis: one producer and one worker process",
    _REDIS,
    [Ratio("redis_vs_best_peer", [THROUGH], [(OURS, _names(_REDIS, OURS))], 5.0)],
    full=Size(5, 5_000),
    short=Size(3, 600),
)
