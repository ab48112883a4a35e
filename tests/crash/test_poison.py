"""A hook that ends its process each time it is called: its instance parks, and the others run (S-14)."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from support.drivers import DRIVERS, Driver

CRASHES = 2

WORKER = """
import os, sys, {driver}
from durable_jobs_{driver} import open_runtime
from durable_jobs_core import Continuous, create_durable_jobs, every
from durable_jobs_core.engine import Limits

def poison(ctx):
    print("poison", ctx.attempt, ctx.crashes, flush=True)
    os._exit(137)

def well(ctx):
    ctx.set_state(ctx.state + 1)

def job(execute, **options):
    return Continuous.make(state=int, schedule=every("1 hour"), execute=execute, **options)

jobs = create_durable_jobs({{
    "poison": job(poison, max_crashes={crashes}, on_exhausted="park"), "well": job(well),
}})

async def main():
    limits = Limits(lease=300, hold=100, poll=50)
    async with open_runtime(jobs, sys.argv[1], limits=limits) as runtime:
        client = runtime.client.continuous("well")
        await client.start(sys.argv[2], 0)
        print("well", (await client.trigger(sys.argv[2], wait="20 seconds")).outcome, flush=True)
        client = runtime.client.continuous("poison")
        await client.start("a", 0)
        while (status := await client.status("a")).status != "parked":
            await {driver}.sleep(0.02)
        print("parked", status.last_error.type, flush=True)

{driver}.run({main})
"""


@pytest.mark.parametrize("driver", DRIVERS, ids=lambda driver: driver.name)
def test_S_14_an_instance_whose_hook_ends_its_process_each_time_parks_and_the_others_run(
    driver: Driver, tmp_path: Path
) -> None:
    main = "main()" if driver.name == "asyncio" else "main"
    script = WORKER.format(driver=driver.name, crashes=CRASHES, main=main)
    codes: Counter[int] = Counter()
    said: list[str] = []
    while not codes[0]:
        command = [sys.executable, "-c", script, f"sqlite:///{tmp_path / 'jobs.db'}", f"{codes.total()}"]
        ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, timeout=60)
        codes[ended.returncode] += 1
        said += ended.stdout.splitlines()
        assert codes.total() <= CRASHES + 1

    assert codes == {137: CRASHES, 0: 1}
    assert [line for line in said if line.startswith("poison")] == [
        f"poison 1 {crashes}" for crashes in range(CRASHES)
    ]
    assert "well succeeded" in said
    assert said[-1] == "parked Crashed"
