"""R-10: several threads, closing, forks."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import count, islice

from durable_jobs_conformance.check import check, registered_for_harnesses
from durable_jobs_conformance.forks import forked, forking
from durable_jobs_conformance.harness import Harness
from durable_jobs_conformance.port import DONE, Port, refuses
from durable_jobs_core.backend import Damaged, Row, Write
from durable_jobs_core.errors import StorageError
from durable_jobs_core.words import INSTANT_MAX, Key

PATIENCE_SECONDS = 10.0
HINTS_FOR_NOTHING = 100
RESTS = 5
"""More than there seem to be of waits that return at once, in a thread that a busy machine holds up."""

OPENED_AT_ONCE = 8

# -- threads


@check("R-10")
def wait_lasts_no_longer_than_asked(port: Port) -> None:
    port.next_wake()
    for seconds in (0, 0.05):
        _ends(port, f"wait({seconds})", partial(port.backend.wait, seconds))


@check("R-10")
def wait_lasts_while_nothing_happens(port: Port) -> None:
    """A hint may come for nothing, but not each time: whoever waits would never rest."""
    port.create("a", wake=INSTANT_MAX)
    port.next_wake()
    lasted = (wait for wait in range(HINTS_FOR_NOTHING) if _lasts(port))
    rests = len([*islice(lasted, RESTS)])
    port.holds(rests == RESTS, f"{RESTS} times a wait(0.02) that lasts, while nothing is written", rests)


def _lasts(port: Port) -> bool:
    began = time.monotonic()
    port.backend.wait(0.02)
    return time.monotonic() - began >= 0.01


@check("R-10")
def a_wait_holds_up_nothing(port: Port) -> None:
    waiting = _begin(partial(port.backend.wait, 30))
    for what, act in (
        ("an exchange with each lane", port.next_wake),
        ("scan", port.scan),
        ("health", port.health),
    ):
        _ends(port, f"{what} beside a wait", act)
    port.backend.close()
    futures.wait([waiting], PATIENCE_SECONDS)  # it may still have a file of the store open


def _begin(act: Callable[[], object]) -> Future[object]:
    """Do it in a thread that nobody waits for at the end."""
    done: Future[object] = Future()

    def run() -> None:
        try:
            done.set_result(act())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return done


def _ends(port: Port, what: str, act: Callable[[], object]) -> None:
    future = _begin(act)
    done, _ = futures.wait([future], PATIENCE_SECONDS)
    port.holds(done, f"{what} ends", f"nothing in {PATIENCE_SECONDS:g} s")
    future.result()


@check("R-10")
def close_ends_every_wait_and_may_be_called_again(port: Port) -> None:
    waits = [_begin(partial(port.backend.wait, 30)) for _ in range(3)]
    for close in ("close", "another close"):
        _ends(port, close, port.backend.close)
    for wait in waits:
        _ends(port, "a wait whose handle is closed", wait.exception)


@check("R-10")
def after_close_it_says_so(port: Port) -> None:
    port.backend.close()
    for act in (port.ask, port.scan, port.health):
        refuses(port, act)


@check("R-10")
def others_work_while_exchanges_go_on(port: Port) -> None:
    ids = [f"{n:02}" for n in range(50)]
    port.create(*ids)
    stop = threading.Event()

    def look() -> int:
        looks = 0
        while not stop.is_set():
            port.same(sorted(port.scan(7)), ids)
            port.knows_jobs(port.JOB)
            looks += 1
        return looks

    with ThreadPoolExecutor() as threads:
        looks = threads.submit(look)
        try:
            for id in ids[:40]:
                row = port.row(id, b"r1")
                port.same(port.ask(Write(row.key, b"r0", row)).outcomes, (DONE,))
        finally:
            stop.set()
        port.holds(looks.result() > 0, "scan and health beside exchanges", "none ended")


@check("R-10")
def lanes_work_beside_each_other(port: Port) -> None:
    """One exchange at a time is a lane's rule, not the handle's."""
    keys = [port.key(f"{n:03}") for n in range(120)]

    def work(mine: list[Key]) -> list[Row | Damaged | None]:
        rows = [Row(key, b"r0", None, "idle", key.id.encode()) for key in mine]
        return [row for each in rows for row in port.ask(Write(each.key, None, each), loads=(each.key,)).rows]

    with ThreadPoolExecutor() as threads:
        told = [row for rows in threads.map(work, port.by_lane(keys)) for row in rows]
    port.same(sorted(row.blob.decode() for row in told if isinstance(row, Row)), [key.id for key in keys])


@registered_for_harnesses("R-10")
def handles_are_opened_at_once_on_an_empty_store(harness: Harness) -> None:
    """As the workers of a first deployment are."""
    store, opened = harness.fresh(), list[Port]()

    def begin(number: int) -> None:
        port = Port(store)
        opened.append(port)
        port.create(f"{number}")

    try:
        with ThreadPoolExecutor(OPENED_AT_ONCE) as threads:
            tuple(threads.map(begin, range(OPENED_AT_ONCE)))
        opened[0].same(sorted(opened[0].scan()), [f"{n}" for n in range(OPENED_AT_ONCE)])
    finally:
        for port in opened:
            port.close_all()
        store.discard()


@check("R-10")
def close_comes_in_the_midst_of_exchanges(port: Port) -> None:
    """They end, and what they were told holds."""
    begun, handle, told = threading.Event(), port.again(), list[str]()

    def work() -> None:
        for n in count():
            told.extend(row.key.id for row in handle.create(f"{n:04}"))
            begun.set()

    working = _begin(work)
    begun.wait(PATIENCE_SECONDS)
    _ends(port, "close", handle.backend.close)
    _ends(port, "exchanges of a handle that is closed", working.exception)
    port.same([id for id in told if port.load(id) is None], [], "acknowledged, and not there")


@check("R-10")
@forking
def a_forked_child_is_refused_and_harms_nothing(port: Port) -> None:
    (row,) = port.create("a")

    def act(say: int) -> None:
        for what, call in (
            ("exchange", lambda: port.ask(Write(row.key, b"r0", None))),
            ("scan", port.scan),
            ("health", port.health),
        ):
            try:
                call()
            except StorageError:
                os.write(say, f"{what} ".encode())
        with suppress(StorageError):
            port.backend.close()

    with forked(act) as (_, said):
        words = said.read().split()
    port.same(words, ["exchange", "scan", "health"], "what raises StorageError in the child")
    port.same(port.load("a"), row, "after the child has closed its copy of the handle")
    port.same(port.scan(), ["a"], "after the child has closed its copy of the handle")
