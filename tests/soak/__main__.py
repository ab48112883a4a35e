"""`make soak`: hundreds of SIGKILLs, several workers on one file, ten thousand cuts between runtimes and a
server, and a fleet on one file, server or Cluster. Exit code 1 if anything is wrong.

python -m tests.soak [--only two|four|kills|file|redis-proxy|redis] [--rounds 500] [--runs 10000]
                     [--cuts 10000] [--fleet-runs 100000]
                     [--variant always|stalled|everysec|cluster] [--seed N]
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from crash.rounds import Report, campaign
from crash.sights import SIGHTS
from durable_jobs_simulation.progress import Progress
from soak import on_file
from soak.fleet import Result, campaigns
from soak.on_redis import SYNCS, soak
from soak.redis_proxy import storm
from soak.share import share
from support.drivers import DRIVERS
from support.redis_servers import PROGRAMS, shared

CAMPAIGN = 25
"""Rounds on one file; then another is begun, and the log with it."""

SIGHTS_AFTER = 500
"""After so many rounds, what was never seen is a fault of the soak."""

PROGRESS = Progress()


def kills(arguments: argparse.Namespace) -> bool:
    """So many rounds of a process that is killed; of enough of them, each sight is to be seen."""
    total = Report(arguments.seed)
    began = time.monotonic()

    def told(report: Report) -> None:
        done = min(total.rounds + report.rounds, arguments.rounds)
        PROGRESS.show(lambda: f"kills: {done} of {arguments.rounds} rounds")

    while total.rounds < arguments.rounds:
        count = min(CAMPAIGN, arguments.rounds - total.rounds)
        folder = tempfile.mkdtemp()
        report = campaign(Path(folder), total.seed, count, told)
        PROGRESS.clear()
        if report.violations:
            print(f"FAILED: seed {report.seed}, the log and the file are in {folder}\n{report}")
            return False
        shutil.rmtree(folder)
        total.add(report, count)
    print(f"kills: {total}\n0 violations in {(time.monotonic() - began) / 60:.1f} minutes")
    missing = [name for name in SIGHTS if not total.seen[name]]
    if missing:
        print(f"never seen: {', '.join(missing)}")
    return not missing or arguments.rounds < SIGHTS_AFTER


def sharing(workers: int, least: float) -> Callable[[argparse.Namespace], bool]:
    """So many workers share the runs."""

    def part(arguments: argparse.Namespace) -> bool:
        with tempfile.TemporaryDirectory() as folder:
            result = share(Path(folder), workers, arguments.runs, least)
        print(f"{workers} workers, {arguments.runs} runs in {result}")
        return not result.faults

    return part


def cut(arguments: argparse.Namespace) -> bool:
    """So many exchanges with a server are cut or delayed, half under each driver."""
    goal = arguments.cuts // len(DRIVERS)
    faults: list[str] = []
    for driver in DRIVERS:
        began = time.monotonic()

        def told(text: str, name: str = driver.name) -> None:
            PROGRESS.show(lambda: f"redis-proxy, {name}: {text}")

        result, proxy = storm(driver, shared(PROGRAMS[0]).port, arguments.seed, goal, 6, told)
        minutes = (time.monotonic() - began) / 60
        PROGRESS.clear()
        print(f"redis-proxy, {driver.name}: {result}, {dict(proxy.counts)}, {minutes:.1f} minutes")
        faults += result.faults
    for fault in faults:
        print(f"  {fault}")
    return not faults


def file(arguments: argparse.Namespace) -> bool:
    """A fleet on a file, stalled and killed at random."""

    def told(text: str) -> None:
        PROGRESS.show(lambda: f"file: {text}")

    result = campaigns(on_file.campaign, arguments.seed, arguments.fleet_runs, told)
    PROGRESS.clear()
    print(f"file: {result}", flush=True)
    return not result.faults


def redis(arguments: argparse.Namespace) -> bool:
    """A fleet on a server, both killed at random, in each variant."""
    results: dict[str, Result] = {}
    for variant in arguments.variant or SYNCS:

        def told(text: str, variant: str = variant) -> None:
            PROGRESS.show(lambda: f"redis, {variant}: {text}")

        results[variant] = soak(variant, arguments.seed, arguments.fleet_runs, told)
        PROGRESS.clear()
        print(f"redis, {variant}: {results[variant]}", flush=True)
    return not any(result.faults for result in results.values())


PARTS: dict[str, Callable[[argparse.Namespace], bool]] = {
    "two": sharing(2, 1 / 4),
    "four": sharing(4, 1 / 10),
    "kills": kills,
    "file": file,
    "redis-proxy": cut,
    "redis": redis,
}


def _went_well(name: str, arguments: argparse.Namespace) -> bool:
    try:
        return PARTS[name](arguments)
    except Exception:
        traceback.print_exc()
        return False


def main() -> None:
    """Read the arguments, run the parts, say which failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--only", choices=[*PARTS], action="append", help="a part; may be repeated")
    parser.add_argument("--rounds", type=int, default=500, help="how many SIGKILLs")
    parser.add_argument("--runs", type=int, default=10_000, help="how many runs the workers share")
    parser.add_argument("--cuts", type=int, default=10_000, help="how many exchanges are cut or delayed")
    parser.add_argument("--fleet-runs", type=int, default=100_000, help="how many runs of a fleet")
    parser.add_argument("--variant", choices=[*SYNCS], action="append", help="of the fleet; may be repeated")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3), "big"))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}")
    failed = [name for name in arguments.only or PARTS if not _went_well(name, arguments)]
    print(f"failed: {', '.join(failed)}" if failed else "all went well")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
