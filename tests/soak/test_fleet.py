"""A short campaign of a fleet on a real server, and its checks, each of which can fail."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from crash.case import Case
from crash.jobs import RULES
from soak.chains import chains
from soak.fleet import Result, history_of, leases_are_kept, regressions_are_reported
from soak.member import LEASE_MS
from soak.on_redis import campaign, cut
from support.needs import A_REDIS
from support.redis_servers import PROGRAMS, launch

RUNS = 100
SERVER_SECONDS = 3.0
LIFE = "0123456789abcdef"
KEY = "continuous:ticker:a"


@A_REDIS
@pytest.mark.timeout(300)
@pytest.mark.parametrize("variant", ["always", "stalled"])
def test_I_1_I_2_I_3_I_4_I_5_I_6_I_7_I_8_I_9_hold_for_workers_on_a_server_all_of_them_killed(
    variant: str, tmp_path: Path
) -> None:
    result = short_campaign(variant, tmp_path)

    assert (result.lost, result.regressions) == (0, 0)


@A_REDIS
@pytest.mark.timeout(300)
def test_I_1_I_2_I_3_I_4_I_5_I_6_I_7_I_8_I_9_hold_for_workers_on_a_cluster_whose_slots_move(
    tmp_path: Path,
) -> None:
    result = short_campaign("cluster", tmp_path)

    assert (result.lost, result.regressions) == (0, 0)
    assert result.moves > 0


@A_REDIS
@pytest.mark.timeout(300)
def test_I_3_no_history_forks_on_a_server_that_loses_the_end_of_its_log(tmp_path: Path) -> None:
    short_campaign("everysec", tmp_path)


def short_campaign(variant: str, folder: Path) -> Result:
    """One that found nothing wrong."""
    seed = int.from_bytes(os.urandom(3), "big")
    environment = dict(os.environ)
    result = campaign(variant, folder, seed, RUNS, server_seconds=SERVER_SECONDS)
    assert result.faults == [], f"seed {seed}\n{result}"
    assert result.runs >= RUNS
    assert result.worker_kills > 0
    assert dict(os.environ) == environment, "it is the other tests' too"
    assert result.server_kills > 0
    return result


@A_REDIS
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_log_that_is_cut_takes_back_what_was_acknowledged(program: str) -> None:
    server = launch(program, "--appendonly", "yes")
    with server.client() as client:
        client.set("kept", 1)
        undo = cut(server)
        client.set("lost", 1)
        server.kill()
        undo()
        server.start()
        found = client.get("kept"), client.get("lost")
    server.discard()

    assert found == (b"1", None)


def attempts(gap: int, *, ended: bool) -> Case:
    """Two attempts of a life, the second leased so long after the first."""
    lines: list[dict[str, Any]] = []
    for number in range(2):
        call, since = f"{number}.1", number * gap
        hook = {"key": KEY, "hook": "execute", "idem": f"k-{LIFE}-1", "attempt": 1, "crashes": number}
        lines.append({"what": "began", "call": call, "round": 1, "at": 0.0, "since": since, **hook})
        if ended:
            lines.append({"what": "ended", "call": call, "round": 1, "at": 0.0, "how": "raised"})
    return Case(key=KEY, log=history_of(lines).of_key(KEY), held=None, rule=RULES["ticker"], clock=0)


def test_I_3_an_attempt_taken_over_within_its_lease_is_found() -> None:
    assert [name for name, _ in leases_are_kept(attempts(LEASE_MS - 1, ended=False))] == ["I-3"]
    assert list(leases_are_kept(attempts(LEASE_MS - 1, ended=True))) == []
    assert list(leases_are_kept(attempts(LEASE_MS, ended=False))) == []


def test_a_regression_that_is_not_reported_or_not_counted_is_found() -> None:
    def sent(n: str, by: int, base: int | None, new: int) -> list[dict[str, Any]]:
        write = [KEY, None if base is None else f"{LIFE}{base:032x}", f"{LIFE}{new:032x}"]
        return [
            {"what": "sent", "n": n, "round": by, "writes": [write]},
            {"what": "heard", "n": n, "round": by, "outcomes": ["committed"]},
        ]

    kill = [{"what": "killing", "round": 0}, {"what": "killed", "round": 0}]
    writes = [*sent("a", 1, None, 1), *sent("b", 1, 1, 2), *kill, *sent("c", 1, 1, 3)]
    found = chains(writes, {KEY: f"{LIFE}{3:032x}"}, may_lose=True)
    said = {"what": "emitted", "type": "history.regressed", "round": 1, "key": KEY}
    health = {"what": "health", "round": 1}

    assert found.lost == 1
    assert list(regressions_are_reported([said, {**health, "regressions": 1}], found)) == []
    assert len(list(regressions_are_reported([{**health, "regressions": 0}], found))) == 1
    assert len(list(regressions_are_reported([said, {**health, "regressions": 0}], found))) == 1
