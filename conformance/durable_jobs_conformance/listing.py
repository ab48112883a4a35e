"""Listing (S-66) and health."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from durable_jobs_conformance.check import check
from durable_jobs_conformance.port import Port
from durable_jobs_core.backend import Damaged, Row, Write
from durable_jobs_core.errors import ValidationError

MANY = 400

# -- listing (S-66)


@check("S-66", each=[1, 2, 3, 7, 100])
def scan_lists_every_row_once(port: Port, limit: int) -> None:
    ids = [f"{n}" for n in range(1, 8)]
    port.create(*ids)
    port.same(sorted(port.scan(limit)), ids)


@check("S-66")
def scan_lists_as_many_as_there_are(port: Port) -> None:
    """A page may have fewer than asked for; the last of them says that it is the last."""
    ids = [f"{n:03}" for n in range(MANY)]
    port.create(*ids)
    port.same(sorted(port.scan(1_000)), ids, "pages of 1,000")


@check("S-66")
def scan_lists_what_is_asked_for(port: Port) -> None:
    rows = [
        port.row("a", status="idle"),
        port.row("b", status="busy"),
        port.row("a", status="busy", kind="debounce"),
        port.row("c", status="busy", job="post"),
        *(port.row("d", status=status, job=job) for job, status in (("mailing", "busy?"), ("Mail", "Busy"))),
    ]
    port.ask(*(Write(row.key, None, row) for row in rows))

    def listed(**query: Any) -> list[Row | Damaged]:
        return port.listed(1, **query)

    port.same(listed(), sorted(rows, key=lambda row: row.key))
    port.same(listed(kind="task"), [rows[5], rows[0], rows[1], rows[4], rows[3]])
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
def scan_lists_what_is_left_of_a_job(port: Port) -> None:
    gone, left, other = port.row("a"), port.row("b"), port.row("c", job="post")
    port.ask(*(Write(row.key, None, row) for row in (gone, left, other)))
    for row in (gone, other):
        port.ask(Write(row.key, b"r0", None))
    port.same(port.listed(5), [left], "one of two rows of a job was deleted, and all of another")
    port.knows_jobs(port.JOB)


@check("S-66")
def scan_lists_once_what_is_changed_meanwhile(port: Port) -> None:
    """A row that is written or claimed between two pages keeps its place."""
    rows = {row.key.id: row for n in range(20) for row in port.create(f"{n:02}", wake=n)}
    seen: list[str] = []
    for n, page in enumerate(port.pages(3), start=1):
        seen += [row.key.id for row in page.rows]
        if len(seen) > len(rows):
            break  # one that lists what was written last would never end
        port.claim(99, until=1_000 - n)
        new = {id: port.row(id, b"r%d" % n, n * 7 * int(id) % 20, f"{n % 2}") for id in rows}
        port.ask(*(Write(row.key, rows[id].revision, row) for id, row in new.items()))
        rows = new
    port.same(sorted(seen), sorted(rows), "ids listed, of rows that were changed after each page")


@check("S-66")
def a_cursor_is_good_for_every_handle_and_again(port: Port) -> None:
    """It goes into a link, which may be opened twice, and in another process. What a page has, and its
    cursor, may be another each time; what is listed from there on is the same."""
    port.create(*(f"{n:02}" for n in range(10)))
    other, pages = port.again(), [*port.pages(3)]
    for n, page in enumerate(pages[:-1], start=1):
        rest = sorted(row.key.id for later in pages[n:] for row in later.rows)
        for handle in (other, port):
            found = sorted(row.key.id for later in handle.pages(3, page.after) for row in later.rows)
            port.same(found, rest, f"listed after {page.after!r}, asked for again")


CHANGED = ("", "x", "-1", "999", "[]", '["task", "mail"]', "null", "\0", "é", "0" * 5_000)


@check("S-66")
def a_cursor_that_somebody_changed_lists_or_is_a_validation_error(port: Port) -> None:
    port.create("a")
    for cursor in CHANGED:
        with suppress(ValidationError):
            port.page(cursor, 3)


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
