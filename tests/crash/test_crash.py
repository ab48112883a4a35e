"""A process that runs all three kinds on an SQLite file is killed at random instants, and nothing is lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from crash.rounds import campaign

ROUNDS = 20


@pytest.mark.timeout(300)
def test_S_67_I_1_I_2_I_3_I_4_I_5_I_6_I_7_I_8_I_9_hold_whenever_the_process_is_killed(tmp_path: Path) -> None:
    seed = int.from_bytes(os.urandom(4), "big")

    report = campaign(tmp_path, seed, ROUNDS)

    assert report.violations == [], f"python -m crash.rounds FOLDER {seed} {ROUNDS}\n{report}"
    assert report.rounds == ROUNDS + 1
