"""Listing (S-66) and health."""

from __future__ import annotations

from typing import Any

from durable_jobs_conformance.check import check
from durable_jobs_conformance.port import Port
from durable_jobs_core.backend import Damaged, Row, Write

# -- listing (S-66)


@check("S-66", each=[1, 2, 3, 7, 100])
def scan_lists_every_row_once(port: Port, limit: int) -> None:
    ids = [f"{n}" for n in range(1, 8)]
    port.create(*ids)
    port.same(sorted(port.scan(limit)), ids)


@check("S-66")
def scan_lists_what_is_asked_for(port: Port) -> None:
    rows = [
        port.row("a", status="idle"),
        port.row("b", status="busy"),
        port.row("a", status="busy", kind="debounce"),
        port.row("c", status="busy", job="post"),
    ]
    port.ask(*(Write(row.key, None, row) for row in rows))

    def listed(**query: Any) -> list[Row | Damaged]:
        return port.listed(1, **query)

    port.same(listed(), sorted(rows, key=lambda row: row.key))
    port.same(listed(kind="task"), [rows[0], rows[1], rows[3]])
    port.same(listed(job="mail"), [rows[2], rows[0], rows[1]])
    port.same(listed(kind="task", job="mail", status="busy"), [rows[1]])
    port.same(listed(status="busy"), [rows[2], rows[1], rows[3]])
    nothing = [listed(status="none"), listed(job="none"), listed(kind="continuous")]
    port.same(nothing, [[], [], []])


@check("S-66")
def scan_misses_nothing_while_rows_come_and_go(port: Port) -> None:
    ids = [f"{n:02}" for n in range(20)]
    port.create(*ids)
    seen: list[str] = []
    for n, page in enumerate(port.pages(3)):
        for row in page.rows:
            seen.append(row.key.id)
            port.ask(Write(row.key, b"r0", None))
        port.create(f"{(seen or ids)[-1]}-later-{n}")
    port.same(sorted(set(ids) - set(seen)), [], "listed rows that were there throughout")
    port.same(len(seen), len(set(seen)))


@check("S-66")
def health_says_what_there_is(port: Port) -> None:
    port.create("a")
    port.ask(Write(port.key("a", kind="debounce"), None, port.row("a", kind="debounce")))
    health = port.health()
    port.knows_jobs(("debounce", "mail"), ("task", "mail"))
    port.holds(health.durability, "what an acknowledgement means, in words", health.durability)
    port.same(health.warnings, ())
    clock = port.ask().clock
    port.holds(abs(health.clock - clock) < 1_000, f"about {clock}", health.clock)
