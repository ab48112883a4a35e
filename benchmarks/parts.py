"""All parts of the benchmark: a new one is registered here."""

from __future__ import annotations

from benchmarks.limits import LIMITS
from benchmarks.peers.table import REDIS, SQLITE
from benchmarks.scale import SCALE

PARTS = (LIMITS, SQLITE, REDIS, SCALE)
