"""The fixture `simulate_jobs`, in a pytest of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import charging
import pytest
from durable_jobs_simulation import SimulationError
from durable_jobs_simulation.pytest_plugin import SimulateJobs
from support.killing import ROOT

from durable_jobs_core import DefinitionError

TEST = """
def test_orders(simulate_jobs):
    simulate_jobs("charging:{case}", seeds=60)
"""


def pytest_of_its_own(folder: Path, case: str, *options: str) -> tuple[int, str]:
    """A test of the example's orders, wrong or right: how pytest exits and what it says."""
    (folder / "test_orders.py").write_text(TEST.format(case=case))
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "--rootdir",
            str(folder),
            f"--basetemp={folder / 'temp'}",
            *options,
        ],
        cwd=ROOT / "examples",
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={"PYTHONPATH": str(ROOT / "examples")},
    )
    return done.returncode, done.stdout + done.stderr


def test_a_handler_that_charges_twice_fails_its_test_with_a_seed_and_a_small_trace(tmp_path: Path) -> None:
    code, said = pytest_of_its_own(tmp_path, "wrong", str(tmp_path))

    assert code == 1
    assert "nobody_pays_twice" in said
    assert "shrunk; all of it is in" in said
    (written,) = (tmp_path / "temp").rglob("seed-*.txt")
    assert "VIOLATED nobody_pays_twice" in written.read_text()
    assert "paid twice" in written.with_suffix(".html").read_text()

    seed = written.stem.removeprefix("seed-")
    code, again = pytest_of_its_own(tmp_path, "wrong", str(tmp_path), "--simulation-seed", seed)
    assert code == 1
    assert f"seed {seed}, shrunk" in again


def test_a_handler_that_charges_once_passes(tmp_path: Path) -> None:
    assert pytest_of_its_own(tmp_path, "right", str(tmp_path))[0] == 0


def test_the_number_of_seeds_is_an_option(tmp_path: Path) -> None:
    assert pytest_of_its_own(tmp_path, "wrong", str(tmp_path), "--simulation-seeds", "1")[0] == 0
    assert pytest_of_its_own(tmp_path, "wrong", str(tmp_path), "--simulation-seeds", "60")[0] == 1


@pytest.mark.parametrize(
    ("case", "said"),
    [
        (lambda: None, "<lambda> gave a value of type NoneType; expected a function that makes a Case, anew"),
        (lambda sim: None, "<lambda> takes arguments; expected a function that makes a Case, anew"),
        (charging.right(), "case: expected a function that makes a Case, anew for each seed, .*, got Case"),
    ],
)
def test_what_makes_no_case_is_told(tmp_path: Path, case: Any, said: str) -> None:
    with pytest.raises((SimulationError, DefinitionError), match=said):
        SimulateJobs(None, None, tmp_path)(case)


@pytest.mark.parametrize(("seeds", "of_the_command"), [(0, None), (-1, None), (5, 0), (5, -2)])
def test_no_seeds_are_told_and_do_not_pass(tmp_path: Path, seeds: int, of_the_command: int | None) -> None:
    with pytest.raises(DefinitionError, match="seeds: expected a whole number, 1 or more"):
        SimulateJobs(None, of_the_command, tmp_path)(charging.wrong, seeds=seeds)
