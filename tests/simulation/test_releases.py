"""Two releases at a time: upcasters meet what a client of the older one has stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from durable_jobs_simulation import Faults, Simulation, Violation, simulate

from durable_jobs_core import Continuous, ContinuousContext, Jobs, Key, create_durable_jobs, every
from durable_jobs_core.record import ContinuousBody

KEY = Key("continuous", "meters", "a")


def release(state: type, **options: Any) -> Jobs:
    async def read(ctx: ContinuousContext[Any]) -> None:
        ctx.set_state(ctx.state)

    meters = Continuous.make(state=state, schedule=every("1 minute"), execute=read, **options)
    return create_durable_jobs({"meters": meters})


def test_an_upcaster_meets_what_a_client_of_the_older_release_has_stored() -> None:
    def run(upcast: Callable[[int], str]) -> None:
        old = release(int)
        new = release(str, state_version=2, upcasters={1: upcast})

        async def scenario(sim: Simulation) -> None:
            await sim.client_of(None, old).continuous("meters").start("a", 7)
            await sim.sleep("1 minute")

        def nothing_is_lost(sim: Simulation) -> None:
            record = sim.record(KEY)
            assert record is not None
            assert isinstance(record.body, ContinuousBody)
            assert record.body.state.value == "7", f"{KEY} is {record.body.state.value}"

        simulate([old, new], scenario, seed=0, faults=Faults(), at_end=[nothing_is_lost])

    run(str)
    with pytest.raises(Violation, match="continuous:meters:a is 0"):
        run(lambda count: "0")
