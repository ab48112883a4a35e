"""Fixtures and settings of the whole suite."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings
from support.drivers import DRIVERS, Driver

settings.register_profile("suite", derandomize=True, deadline=None, database=None)
settings.load_profile("suite")
# the servers of tests are on this machine, whatever the environment says of the way to others
os.environ["no_proxy"] = "127.0.0.1,localhost"


@pytest.fixture(params=DRIVERS, ids=lambda driver: driver.name)
def driver(request: pytest.FixtureRequest) -> Driver:
    """Each driver in turn."""
    chosen: Driver = request.param
    return chosen


@pytest.fixture
def interrupts() -> Iterator[None]:
    """Ctrl-C as Python has it; a process in the background may have been started without."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
