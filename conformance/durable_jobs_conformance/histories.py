"""Threads on several handles at once; what they were told has to fit one history.

Revisions are never used twice here, so the commits of a key form a chain if, and only if, every
`expected` was what was stored: each revision is replaced at most once, and by a write that expected it.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from attrs import define, field

from durable_jobs_conformance.check import check
from durable_jobs_conformance.port import FOREVER, Port
from durable_jobs_core.backend import Claim, Committed, Conflicted, Damaged, Outcome, Row, Write
from durable_jobs_core.words import Key

THREADS = 4
ROUNDS = 60
KEYS = [Key("task", "mail", id) for id in "abcde"]


@define
class History:
    """`became[key]`: (expected, revision) of each committed write; `seen[key]`: revisions read."""

    became: defaultdict[Key, list[tuple[bytes | None, bytes | None]]] = field(
        factory=lambda: defaultdict(list)
    )
    seen: defaultdict[Key, list[bytes]] = field(factory=lambda: defaultdict(list))

    def merge(self, other: History) -> None:
        """Add what another thread was told."""
        for key in KEYS:
            self.became[key] += other.became[key]
            self.seen[key] += other.seen[key]

    def verify(self, port: Port, stored: dict[Key, bytes | None]) -> None:
        """One chain a key, which ends at what is stored."""
        for key in KEYS:
            became = self.became[key]
            written = {revision for _, revision in became if revision is not None}
            replaced = Counter(expected for expected, _ in became if expected is not None)
            twice = [revision for revision, count in replaced.items() if count > 1]
            port.same(twice, [], f"{key}: revisions replaced by two acknowledged writes")
            port.same(sorted(replaced.keys() - written), [], f"{key}: expected, but never written")
            port.same(sorted(set(self.seen[key]) - written), [], f"{key}: read, but never committed")
            last: list[bytes | None] = [*sorted(written - replaced.keys())] or [None]
            port.same([stored[key]], last, f"{key}: acknowledged and not replaced since")


@check("R-2")
def commits_at_once_form_one_chain_a_key(port: Port) -> None:
    _chain(port, lambda: None)


@check("R-3", needs="durable")
def commits_at_once_form_one_chain_a_key_across_crashes(port: Port) -> None:
    _chain(port, port.store.crash)


def _chain(port: Port, between: Callable[[], None]) -> None:
    history = History()
    for part in range(2):
        handles = [port.again() for _ in range(THREADS)]
        with ThreadPoolExecutor(THREADS) as threads:
            for told in threads.map(_write, handles, range(part * THREADS, (part + 1) * THREADS)):
                history.merge(told)
        between()
    rows = port.again().ask(loads=tuple(KEYS)).rows
    history.verify(
        port, {key: None if row is None else row.revision for key, row in zip(KEYS, rows, strict=True)}
    )


def _write(port: Port, thread: int) -> History:
    """Load some, write some, mostly expecting what was read last."""
    told, dice = History(), random.Random(thread)
    known: dict[Key, bytes | None] = dict.fromkeys(KEYS)
    for round in range(ROUNDS):
        keys = sorted(dice.sample(KEYS, 2))
        writes: list[Write] = []
        for key in keys:
            expected = known[key]
            deletes = expected is not None and dice.random() < 0.2
            revision = b"%d-%d" % (thread, round)
            writes.append(Write(key, expected, None if deletes else Row(key, revision, 5, "idle", revision)))
        answer = port.ask(*writes, loads=tuple(dice.sample(KEYS, 2)))
        for write, outcome in zip(writes, answer.outcomes, strict=True):
            known[write.key] = _learn(told, write, outcome)
        for row in answer.rows:
            if row is not None:
                _read(told, row)
    return told


def _learn(told: History, write: Write, outcome: Outcome) -> bytes | None:
    """What is stored now, as far as this thread knows."""
    match outcome:
        case Committed():
            revision = None if write.row is None else write.row.revision
            told.became[write.key].append((write.expected, revision))
            return revision
        case Conflicted(row):
            return None if row is None else _read(told, row)
        case _:
            raise AssertionError(f"neither committed nor conflicted without a fault: {outcome}")


def _read(told: History, row: Row | Damaged) -> bytes:
    told.seen[row.key].append(row.revision)
    return row.revision


@check("R-7")
def every_entry_is_claimed_once_while_commits_go_on(port: Port) -> None:
    """A commit indexes its row once, so each revision is claimed once: not twice, and not never."""
    rows = port.create(*(f"{n:02}" for n in range(12)), wake=1)
    handles = [port.again() for _ in range(THREADS)]

    def work(handle: Port) -> list[tuple[Key, bytes]]:
        taken: list[tuple[Key, bytes]] = []
        for _ in range(200):  # one that moves no entry would never end
            claimed = handle.ask(claim=Claim({port.JOB: 3}, 5, FOREVER - 1)).claimed
            taken += [(row.key, row.revision) for row in claimed]
            for row in claimed:
                handle.ask(_next(row.key, row.revision))
        return taken

    with ThreadPoolExecutor(THREADS) as threads:
        taken = Counter(one for found in threads.map(work, handles) for one in found)
    port.same([one for one, count in taken.items() if count > 1], [], "entries claimed more than once")
    wanted = {(row.key, b"r%d" % n) for row in rows for n in range(LAST + 1)}
    port.same(sorted(wanted - taken.keys()), [], "entries never claimed")


LAST = 5


def _next(key: Key, revision: bytes) -> Write:
    number = int(revision[1:])
    return Write(key, revision, Row(key, b"r%d" % (number + 1), 1 if number < LAST else None, "idle", b""))
