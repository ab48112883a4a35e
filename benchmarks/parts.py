"""All parts of the benchmark: a new one is registered here."""

from __future__ import annotations

from benchmarks.continuous import CONTINUOUS
from benchmarks.debounce import DEBOUNCE
from benchmarks.lateness import LATENESS
from benchmarks.limits import LIMITS
from benchmarks.modes import MODES
from benchmarks.network import NETWORK
from benchmarks.peers.table import REDIS, SQLITE
from benchmarks.processes import PROCESSES
from benchmarks.scale import SCALE

PARTS = (
    LIMITS,
    SQLITE,
    REDIS,
    MODES,
    PROCESSES,
    NETWORK,
    LATENESS,
    DEBOUNCE,
    CONTINUOUS,
    SCALE,
)
