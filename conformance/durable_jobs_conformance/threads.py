"""R-10: several threads, closing, forks."""

from __future__ import annotations

import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from durable_jobs_conformance.check import check
from durable_jobs_conformance.forks import forked
from durable_jobs_conformance.port import DONE, Port, refuses
from durable_jobs_core.backend import Write

# -- threads


@check("R-10")
def wait_ends_when_another_makes_work_due(port: Port) -> None:
    other = port.again()
    port.same(port.next_wake(), None)
    threading.Timer(0.03, other.create, ["a"], {"wake": 10}).start()
    began = time.monotonic()
    port.backend.wait(20)
    port.holds(time.monotonic() - began < 10, "wait ends at once", f"{time.monotonic() - began:.1f} s")


@check("R-10")
def wait_lasts_no_longer_than_asked(port: Port) -> None:
    port.next_wake()
    port.backend.wait(0)
    port.backend.wait(0.05)


@check("R-10")
def close_ends_every_wait_and_may_be_called_again(port: Port) -> None:
    began = time.monotonic()
    waits = [threading.Thread(target=port.backend.wait, args=(30,)) for _ in range(3)]
    for wait in waits:
        wait.start()
    port.backend.close()
    for wait in waits:
        wait.join(10)
        port.holds(not wait.is_alive(), "wait returns when its handle is closed", "it still waits")
    port.backend.close()
    port.holds(time.monotonic() - began < 10, "wait ends at once", f"{time.monotonic() - began:.1f} s")


@check("R-10")
def closing_one_handle_does_not_end_the_waits_of_another(port: Port) -> None:
    other = port.again()
    other.backend.wait(0)
    port.backend.close()
    began = time.monotonic()
    other.backend.wait(0.1)
    other.backend.wait(0.1)
    port.holds(time.monotonic() - began > 0.15, "two waits of 0.1 s", f"{time.monotonic() - began:.2f} s")


@check("R-10")
def after_close_it_says_so(port: Port) -> None:
    port.backend.close()
    for act in (port.ask, port.scan):
        refuses(port, act, "closed")


@check("R-10")
def others_work_while_exchanges_go_on(port: Port) -> None:
    ids = [f"{n:02}" for n in range(50)]
    port.create(*ids)
    stop = threading.Event()

    def look() -> int:
        looks = 0
        while not stop.is_set():
            port.same(port.scan(7), ids)
            port.same(port.backend.health().jobs, (port.JOB,))
            looks += 1
        return looks

    with ThreadPoolExecutor() as threads:
        looks = threads.submit(look)
        for id in ids[:40]:
            row = port.row(id, b"r1")
            port.same(port.ask(Write(row.key, b"r0", row)).outcomes, (DONE,))
        stop.set()
        port.holds(looks.result() > 0, "scan and health beside exchanges", "none ended")


@check("R-10")
def a_forked_child_is_refused_and_harms_nothing(port: Port) -> None:
    if sys.platform == "win32":
        return
    (row,) = port.create("a")

    def act(say: int) -> None:
        port.ask(Write(row.key, b"r0", None))
        os.write(say, b"it answered")

    with forked(act) as (_, said):
        words = said.read()
    port.holds(words.startswith(("StorageError", "StoreError")), "a StorageError in the child", words)
    port.same(port.load("a"), row)
