"""One round of measures, each in a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from benchmarks import product, prototype

BARE = "bare loop, SQLite FULL"
LOOPS = ("asyncio", "trio")


def measure(folder: Path, count: int) -> dict[str, float]:
    """One round: name of the measure to jobs a second. Each store is measured in a process of its own,
    where nothing is left of another for the garbage collector to visit."""
    found: dict[str, float] = {}

    def note(name: str, measured: Callable[[str, int], tuple[float, float]], url: str) -> None:
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            rates = process.submit(measured, url, count).result()
        found[f"{name}|accepted"], found[f"{name}|drained"] = rates

    note(BARE, prototype.bare, str(folder / "bare.db"))
    for loop in LOOPS:
        path = str(folder / f"prototype-{loop}.db")
        note(f"prototype, {loop}, SQLite FULL", partial(_both, "prototype", loop), path)
        for store, url in (("memory", "memory://jobs"), ("SQLite FULL", f"sqlite:///{folder / loop}.db")):
            note(f"durable-jobs, {loop}, {store}", partial(_both, "product", loop), url)
    return found


def _both(of: str, loop: str, url: str, count: int) -> tuple[float, float]:
    module = {"product": product, "prototype": prototype}[of]
    accept, drain = getattr(module, f"accept_{loop}"), getattr(module, f"drain_{loop}")
    return accept(url, count), drain(url, count)
