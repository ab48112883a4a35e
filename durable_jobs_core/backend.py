"""The port: what a backend is asked, and what it promises. Contract version 1.

A backend is blocking and batched, and knows nothing of jobs: it keeps *rows*, and beside each row an
*index entry*, the instant at which the row wants to be claimed. `durable_jobs_memory` is the readable
specification of it. The rules, cited as `R-1` to `R-10`:

 1. *Atom.* A row and its index entry change together or not at all. Across the writes of a batch
    nothing is promised.
 2. *Compare.* A write takes effect only if the stored revision equals `expected` byte for byte, or
    there is no row for `None`. A deletion leaves nothing.
 3. *Outcome.* `Committed`: durable as `health()` says. `Conflicted`: the row as it is now. `Refused`:
    proven that nothing happened or will. All else, and any exception, is `Unknown`. Nothing is sent
    twice. After `Unknown` the connection is closed, and opened again for the next exchange.
 4. *Order.* Writes, then loads, then the claim, then `clock`; each sees the ones before.
 5. *Deadline.* A write that would take effect after `not_after`, by the backend's clock, is `Refused`.
    Loads under `settle`, begun after it, wait out every write in progress.
 6. *Index.* A commit sets the entry to `wake`, always. Claim and `Defer` move the entry only: row and
    revision stay. A row keeps its `wake` apart from the entry; a load puts back an entry that is
    missing or later than both `wake` and any hold, and so may `scan`.
 7. *Claim.* Of its lane, per job up to its limit, entries <= `now`, earliest first, at least one row
    whatever `max_bytes`. A row is read and its entry moved in one atom; two claims never return the same
    entry.
 8. *Time.* `now`, `until`, `wake` are the engine's; the backend compares them as given. Its own clock
    (milliseconds since 1970) serves `clock` and rule 5, and does not go back within a store. `next_wake`
    is the earliest entry of the jobs named, after the claim, of what is due already too.
 9. *Damage.* A row that cannot be read is returned as `Damaged`, never raised, skipped or overwritten
    unasked; others are not disturbed. Its `revision` is what a `Defer` or a deletion of it must expect.
10. *Threads.* One exchange at a time a lane; `scan`, `wait`, `health`, `close` from other threads
    meanwhile, none holding up an exchange; `close` ends every `wait`; a forked child is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias, cast

from durable_jobs_core._values import value
from durable_jobs_core.checks import shown
from durable_jobs_core.errors import Issue, ValidationError
from durable_jobs_core.words import INSTANT_MAX, YEAR_MS, Job, Key, Kind

BATCH_MAX_WRITES = 512
BATCH_MAX_BYTES = 4 * 1024 * 1024


@value
class Row:
    """One stored instance. `wake`: its alarm, in milliseconds since 1970; `status`: for listing; `blob`:
    opaque."""

    key: Key
    revision: bytes
    wake: int | None
    status: str
    blob: bytes


@value
class Write:
    """Put `row`, or delete with `None`, if the stored revision is `expected` (`None`: no row)."""

    key: Key
    expected: bytes | None
    row: Row | None


@value
class Defer:
    """Move the index entry to `wake`, or out of the index, if the stored revision is `expected`."""

    key: Key
    expected: bytes
    wake: int | None


@value
class Claim:
    """Take due rows: per (kind, job) in `limits` at most so many, and `max_bytes` of blobs in all.

    Entries <= `now` are due; those taken are moved to `until`.
    """

    limits: Mapping[Job, int]
    now: int
    until: int
    max_bytes: int = BATCH_MAX_BYTES


@value(kw_only=True)
class Batch:
    """One exchange: at most 512 writes and 4 MiB, sorted by key, a key at most once among them, and any
    number of loads, each of another key.

    `settle`: `not_after` is that of an earlier batch, whose writes the loads must see or wait out.
    """

    writes: tuple[Write | Defer, ...] = ()
    loads: tuple[Key, ...] = ()
    claim: Claim | None = None
    not_after: int
    settle: bool = False


@value
class Committed:
    """The write is durable."""


@value
class Conflicted:
    """The stored revision was another; `row` is what is stored, or `None`."""

    row: Row | Damaged | None


@value
class Refused:
    """It is proven that nothing happened or will; `transient`: trying again may help."""

    reason: str
    transient: bool


@value
class Unknown:
    """No one can tell yet; the write may still land before `not_after`."""

    reason: str


@value
class Damaged:
    """A row that cannot be read: `raw` is what is there, `why` what is wrong with it."""

    key: Key
    revision: bytes
    raw: bytes
    why: str


Outcome: TypeAlias = Committed | Conflicted | Refused | Unknown


@value(kw_only=True)
class Answer:
    """`outcomes`: one a write, in order; `rows`: one a load; `claimed`; `next_wake`; `clock`."""

    outcomes: tuple[Outcome, ...] = ()
    rows: tuple[Row | Damaged | None, ...] = ()
    claimed: tuple[Row | Damaged, ...] = ()
    next_wake: int | None = None
    clock: int


def flaw(answer: Any, batch: Batch) -> str | None:
    """Why this cannot be the answer to `batch`, if it cannot: then it counts as none (`Unknown`).

    Whatever the backend gave may be looked at: an engine must not trip over it, nor answer from the row of
    another key.
    """
    if not isinstance(answer, Answer):
        return f"expected an Answer, got {type(answer).__name__}"
    outcomes, rows, claimed, wake = answer.outcomes, answer.rows, answer.claimed, answer.next_wake
    if not all(isinstance(part, (tuple, list)) for part in (outcomes, rows, claimed)):
        return "its answer has outcomes, rows or claimed rows that are no tuple"
    if len(outcomes) != len(batch.writes) or len(rows) != len(batch.loads):
        counts = f"{len(outcomes)} outcomes for {len(batch.writes)} writes"
        return f"its answer has {counts}, {len(rows)} rows for {len(batch.loads)} loads"
    if type(answer.clock) is not int or not 0 <= answer.clock <= INSTANT_MAX - YEAR_MS:
        return f"its answer has for a clock {answer.clock!r}, expected an int, milliseconds since 1970"
    if wake is not None and type(wake) is not int:
        return f"its answer has for next_wake {wake!r}, expected an int or None"
    for write, outcome in zip(batch.writes, outcomes, strict=True):
        if not isinstance(outcome, (Committed, Conflicted, Refused, Unknown)):
            return f"its answer has for the outcome of {write.key} a {type(outcome).__name__}"
        if isinstance(outcome, Conflicted) and not (outcome.row is None or _is_of(outcome.row, write.key)):
            return _strange(f"the conflict of {write.key}", outcome.row)
    for key, row in zip(batch.loads, rows, strict=True):
        if not (row is None or _is_of(row, key)):
            return _strange(f"the load of {key}", row)
    for row in claimed:
        if not _is_whole(row):
            return _strange("a claim", row)
    return None


def _is_of(row: Any, key: Key) -> bool:
    """Whether it is what is stored of `key`, damaged or not."""
    return _is_whole(row) and row.key == key


def _is_whole(row: Any) -> bool:
    """Whether it is a row, damaged or not, of some key."""
    if not isinstance(row, (Row, Damaged)):
        return False
    data = row.blob if isinstance(row, Row) else row.raw
    return type(row.key) is Key and type(row.revision) is type(data) is bytes


def _strange(what: str, row: Any) -> str:
    parts = ("key", "revision", "blob", "raw")
    got = ", ".join(f"{part}: {type(getattr(row, part)).__name__}" for part in parts if hasattr(row, part))
    name = f" {row.key}" if hasattr(row, "key") else ""
    return f"its answer has for {what} a {type(row).__name__}{name} ({got}), expected its Row with bytes"


@value(kw_only=True)
class Query:
    """Which rows to list; `None` is any."""

    kind: Kind | None = None
    job: str | None = None
    status: str | None = None


Cursor: TypeAlias = str


@value
class Page:
    """Rows in an order of the backend's choice; `after`: where the next page begins, `None` at the end."""

    rows: tuple[Row | Damaged, ...]
    after: Cursor | None


def cursor_of(key: Key) -> Cursor:
    """The cursor of a page that ends with `key`, as those of our backends are: its JSON."""
    return json.dumps(key)


def key_after(cursor: Cursor | None) -> Key | None:
    """The key in a cursor that `cursor_of` made.

    Raises `ValidationError` for any other: it may come from a link that somebody changed.
    """
    if cursor is None:
        return None
    try:
        match json.loads(cursor):
            case [str(kind), str(job), str(id)]:
                key = Key(cast(Kind, kind), job, id)
                str(key).encode()
                return key
            case _:
                pass
    except (ValueError, RecursionError):  # no JSON, or no text
        pass
    raise ValidationError("list", (Issue("after", "what the page before gave", shown(cursor)),))


@value(kw_only=True)
class Health:
    """What a backend knows of itself.

    `durability`: what an acknowledgement means here; `clock`: its clock; `warnings`: what an operator
    should know; `jobs`: the (kind, job) pairs that have instances, as far as that is cheap to tell.
    """

    durability: str
    clock: int
    warnings: tuple[str, ...] = ()
    jobs: tuple[Job, ...] = ()


class Backend(Protocol):
    """Storage for instances. See the rules above; every method may block, and is called by position."""

    @property
    def lanes(self) -> int:
        """How many parts fail alone, numbered from 0 (Redis Cluster: one a node; others: one)."""
        ...

    def lane(self, key: Key, /) -> int:
        """The lane of a key; fixed while the backend is open."""
        ...

    def exchange(self, lane: int, batch: Batch, /) -> Answer:
        """Perform one batch in one transaction, round trip or call. What it raises is `Unknown`."""
        ...

    def scan(self, query: Query, after: Cursor | None, limit: int, /) -> Page:
        """One page of at most `limit` rows, maybe fewer; `after` is of any handle, or somebody changed it."""
        ...

    def wait(self, timeout: float, /) -> None:
        """Return when another process may have made work due, or after `timeout` seconds; a hint."""
        ...

    def health(self) -> Health:
        """What an acknowledgement means here, the clock, and warnings."""
        ...

    def close(self) -> None:
        """End every `wait` and release what is held. Calling it twice is harmless."""
        ...
