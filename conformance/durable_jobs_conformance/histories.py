"""Threads on several handles at once, and processes; what they were told has to fit one history.

Revisions are never used twice here, so the commits of a key form a chain if, and only if, every
`expected` was what was stored: each revision is replaced at most once, and by a write that expected it.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from attrs import define, field

from durable_jobs_conformance.check import check
from durable_jobs_conformance.forks import forking, in_processes
from durable_jobs_conformance.port import FOREVER, Port
from durable_jobs_core.backend import Claim, Committed, Conflicted, Damaged, Outcome, Row, Write
from durable_jobs_core.words import Key

THREADS = 4
ROUNDS = 60
IDLE_MAX = 10
KEYS = [Key("task", "mail", id) for id in "abcde"]
ENTRIES = [f"{n:02}" for n in range(12)]


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

    def to_literal(self) -> Any:
        """For `of_literal` in another process."""
        return {key.id: (self.became[key], self.seen[key]) for key in KEYS}

    @classmethod
    def of_literal(cls, literal: Any) -> History:
        """What `to_literal` was made of."""
        history = cls()
        for key in KEYS:
            history.became[key], history.seen[key] = literal[key.id]
        return history

    def verify(self, port: Port) -> None:
        """One chain a key, which ends at what is stored."""
        for key, row in zip(KEYS, port.ask(loads=tuple(KEYS)).rows, strict=True):
            became = self.became[key]
            written = {revision for _, revision in became if revision is not None}
            replaced = Counter(expected for expected, _ in became if expected is not None)
            twice = [revision for revision, count in replaced.items() if count > 1]
            port.same(twice, [], f"{key}: revisions replaced by two acknowledged writes")
            port.same(sorted(replaced.keys() - written), [], f"{key}: expected, but never written")
            port.same(sorted(set(self.seen[key]) - written), [], f"{key}: read, but never committed")
            last: list[bytes | None] = [*sorted(written - replaced.keys())] or [None]
            stored = None if row is None else row.revision
            port.same([stored], last, f"{key}: acknowledged and not replaced since")


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
    history.verify(port.again())


@check("R-2", needs="durable")
@forking
def commits_of_processes_form_one_chain_a_key(port: Port) -> None:
    """What a lock or a cache does in one process, it does not for another."""
    port.close_all()
    history = History()
    for told in in_processes(port.store, lambda handle, n: _write(handle, n).to_literal(), THREADS):
        history.merge(History.of_literal(told))
    history.verify(port.again())


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
    rows = port.create(*ENTRIES, wake=1)
    handles = [port.again() for _ in range(THREADS)]
    with ThreadPoolExecutor(THREADS) as threads:
        _verify_claims(port, rows, threads.map(_claim, handles))


@check("R-7", needs="durable")
@forking
def every_entry_is_claimed_once_by_processes(port: Port) -> None:
    rows = port.create(*ENTRIES, wake=1)
    port.close_all()
    _verify_claims(port, rows, in_processes(port.store, lambda handle, _: _claim(handle), THREADS))


def _claim(port: Port) -> list[tuple[str, bytes]]:
    """Claim and commit until there is nothing: who finds less leaves the rest to whoever was quicker."""
    taken: list[tuple[str, bytes]] = []
    idle = 0
    for _ in range(200):  # one that moves no entry would never end
        claimed = port.ask(claim=Claim({port.JOB: 3}, 5, FOREVER - 1)).claimed
        idle = 0 if claimed else idle + 1
        if idle > IDLE_MAX:
            break
        taken += [(row.key.id, row.revision) for row in claimed]
        for row in claimed:
            port.ask(_next(row.key, row.revision))
    return taken


def _verify_claims(port: Port, rows: list[Row], told: Iterable[list[tuple[str, bytes]]]) -> None:
    taken = Counter(one for found in told for one in found)
    port.same([one for one, count in taken.items() if count > 1], [], "entries claimed more than once")
    wanted = {(row.key.id, b"r%d" % n) for row in rows for n in range(LAST + 1)}
    port.same(sorted(wanted - taken.keys()), [], "entries never claimed")


LAST = 5


def _next(key: Key, revision: bytes) -> Write:
    number = int(revision[1:])
    return Write(key, revision, Row(key, b"r%d" % (number + 1), 1 if number < LAST else None, "idle", b""))
