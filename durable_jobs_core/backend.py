"""The port: what a backend is asked, and what it promises (DESIGN §1a). Contract version 1.

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
    serves `clock` and rule 5, and does not go back within a store. `next_wake` is the earliest entry
    of the jobs named, after the claim.
 9. *Damage.* A row that cannot be read is returned as `Damaged`, never raised, skipped or overwritten
    unasked; others are not disturbed. Its `revision` is what a `Defer` or a deletion of it must expect.
10. *Threads.* One exchange at a time a lane; `scan`, `wait`, `health`, `close` from other threads
    meanwhile, none holding up an exchange; `close` ends every `wait`; a forked child is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeAlias

from attrs import field

from durable_jobs_core._values import value
from durable_jobs_core.words import INSTANT_MAX, Key, Kind

BATCH_MAX_WRITES = 512
BATCH_MAX_BYTES = 4 * 1024 * 1024


@value
class Row:
    """One stored instance. `wake`: its alarm; `status`: for listing; `blob`: opaque."""

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

    limits: Mapping[tuple[Kind, str], int]
    now: int
    until: int
    max_bytes: int = BATCH_MAX_BYTES


@value(kw_only=True)
class Batch:
    """One exchange: at most 512 writes and 4 MiB, sorted by key, a key at most once among them.

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

    def fits(self, batch: Batch) -> bool:
        """Whether it may be the answer to `batch`, by its form; what is none counts as lost (`Unknown`)."""
        if not all(isinstance(values, tuple | list) for values in (self.outcomes, self.rows, self.claimed)):
            return False
        found = [outcome.row for outcome in self.outcomes if isinstance(outcome, Conflicted)]
        return (
            len(self.outcomes) == len(batch.writes)
            and len(self.rows) == len(batch.loads)
            and all(row is None or _is_row(row) for row in (*found, *self.rows))
            and all(map(_is_row, self.claimed))
            and (self.next_wake is None or type(self.next_wake) is int)
            and type(self.clock) is int
            and self.clock <= INSTANT_MAX
        )


def _is_row(row: Row | Damaged) -> bool:
    """Whether an engine can keep it: what is wrong inside, reading it will tell."""
    if not isinstance(row, Row | Damaged) or type(row.key) is not Key:
        return False
    return type(row.revision) is bytes and (isinstance(row, Damaged) or type(row.blob) is bytes)


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


@value(kw_only=True)
class Health:
    """What a backend knows of itself.

    `durability`: what an acknowledgement means here; `clock`: its clock; `warnings`: what an operator
    should know; `jobs`: the (kind, job) pairs that have instances, as far as that is cheap to tell.
    """

    durability: str
    clock: int
    warnings: tuple[str, ...] = ()
    jobs: tuple[tuple[Kind, str], ...] = field(default=())


class Backend(Protocol):
    """Storage for instances. See the rules above; every method may block.

    `lanes`: parts that fail alone, numbered from 0 (Redis Cluster: one a node; others: one).
    """

    lanes: int

    def lane(self, key: Key) -> int:
        """The lane of a key; fixed while the backend is open."""
        ...

    def exchange(self, lane: int, batch: Batch) -> Answer:
        """Perform one batch in one transaction, round trip or call. What it raises is `Unknown`."""
        ...

    def scan(self, query: Query, after: Cursor | None, limit: int) -> Page:
        """One page of at most `limit` rows."""
        ...

    def wait(self, timeout: float) -> None:
        """Return when another process may have made work due, or after `timeout` seconds; a hint."""
        ...

    def health(self) -> Health:
        """What an acknowledgement means here, the clock, and warnings."""
        ...

    def close(self) -> None:
        """End every `wait` and release what is held. Calling it twice is harmless."""
        ...
