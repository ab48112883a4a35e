"""The scripts of the peers: what they say, and that ours runs by the same protocol."""

from __future__ import annotations

import json
import sqlite3
import sys
from pathlib import Path

import pytest
from support.needs import A_REDIS
from support.scripts import ROOT

sys.path.insert(0, str(ROOT))

from benchmarks.peers import driving
from benchmarks.peers.table import REDIS, SQLITE
from benchmarks.table import RATES

COUNT = 12
HERE = ROOT / "benchmarks/peers"


def test_ours_takes_in_and_runs_by_the_protocol_on_sqlite(tmp_path: Path) -> None:
    figures = SQLITE.measures[0].run(tmp_path, COUNT)

    assert set(figures.values) >= set(RATES)
    assert "synchronous=FULL" in figures.settings
    for path in tmp_path.glob("*/jobs.db"):
        with sqlite3.connect(path) as connection:
            assert connection.execute("SELECT count(*) FROM rows").fetchone() == (COUNT,)
        connection.close()


@A_REDIS
def test_ours_takes_in_and_runs_by_the_protocol_on_redis(tmp_path: Path) -> None:
    figures = REDIS.measures[0].run(tmp_path, COUNT)

    assert set(figures.values) >= set(RATES)
    assert "everysec" in figures.settings


def test_a_script_that_fails_is_told_with_what_it_printed(tmp_path: Path) -> None:
    script = tmp_path / "wrong.py"
    script.write_text("raise SystemExit('no such library')")

    with (
        pytest.raises(RuntimeError, match="expected 'settings', came ''\nno such library"),
        driving.running([sys.executable, script]),
    ):
        pass


def test_every_peer_has_a_script_and_pinned_requirements() -> None:
    scripts = {path.stem.removeprefix("with_") for path in HERE.glob("with_*.py")} - {"durable_jobs"}
    pinned = {path.stem: path.read_text().split() for path in HERE.glob("requirements/*.txt")}

    names = {measure.name.lower() for part in (SQLITE, REDIS) for measure in part.measures[1:]}
    assert names == scripts == set(pinned)
    assert [line for lines in pinned.values() for line in lines if "==" not in line] == []


def test_the_script_that_peers_import_needs_nothing_but_python() -> None:
    answer = driving.subprocess.run(
        [sys.executable, "-S", "-c", "import protocol; protocol.serve('synced')"],
        cwd=HERE,
        input="",
        capture_output=True,
        text=True,
        check=True,
    )

    assert json.loads(answer.stdout) == {"settings": "synced"}
