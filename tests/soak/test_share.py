"""Two processes, one under each driver, share the due runs of one file."""

from __future__ import annotations

from pathlib import Path

from soak.share import share

RUNS = 500


def test_S_11_I_3_two_processes_on_one_file_make_each_run_once(tmp_path: Path) -> None:
    result = share(tmp_path, workers=2, runs=RUNS, least=0)

    assert [fault for fault in result.faults if "exchange" not in fault] == []
    assert sum(result.parts.values()) == RUNS
