"""Fixtures and settings of the whole suite."""

from __future__ import annotations

import os

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
