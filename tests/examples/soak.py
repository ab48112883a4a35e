"""The examples, killed more often than the suite has time for: `python -m tests.examples.soak --kills 50`."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "examples")]

from tests.examples.test_token_refresh import rotate_tokens  # noqa: E402
from tests.examples.test_webhooks import deliver_one_repository, deliver_recorded  # noqa: E402


def webhooks(folder: Path, kills: int, seed: int) -> None:
    """The recorded payloads, if there are any."""
    deliver_recorded(folder / "jobs.db", kills=kills, seed=seed, otherwise=folder / "payloads")


def one_repository(folder: Path, kills: int, seed: int) -> None:
    """A thousand files of one repository."""
    deliver_one_repository(folder / "payloads", folder / "jobs.db", kills=kills, seed=seed)


def tokens(folder: Path, kills: int, seed: int) -> None:
    """Refresh tokens that can be used once."""
    rotate_tokens(folder / "tokens.db", kills=kills, seed=seed)


def soak(kills: int, seed: int) -> None:
    """Run each; raises `AssertionError` where an account does not balance."""
    each: list[Callable[[Path, int, int], None]] = [webhooks, one_repository, tokens]
    for example in each:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            example(Path(folder), kills, seed)
        print(f"{example.__name__}: {kills} kills, {time.monotonic() - began:.0f} s: it balances", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split(":", 1)[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    soak(arguments.kills, arguments.seed)
