"""The drivers that each test of both runs on."""

from __future__ import annotations

from contextlib import suppress

import pytest
from support.drivers import DRIVERS, Asyncio, Driver

ALL: dict[str, Driver] = {driver.name: driver for driver in DRIVERS}
with suppress(ImportError):  # there is none for some interpreters
    import uvloop

    ALL["uvloop"] = Asyncio(uvloop.new_event_loop)


@pytest.fixture(params=ALL)
def driver(request: pytest.FixtureRequest) -> Driver:
    """Both drivers, and asyncio on the loop that many servers bring."""
    return ALL[request.param]
