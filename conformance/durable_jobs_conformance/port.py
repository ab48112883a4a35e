"""A handle on a store under test, shorthand for asking it, and what it was asked last.

`port.again()` is a second handle on the same store. Instants are small numbers: a backend compares them
as given (R-8).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby, zip_longest
from typing import Any

from durable_jobs_conformance.forms import misfit, named
from durable_jobs_conformance.harness import Store
from durable_jobs_conformance.lanes import join, split
from durable_jobs_core.backend import (
    Answer,
    Batch,
    Claim,
    Committed,
    Damaged,
    Defer,
    Health,
    Page,
    Query,
    Row,
    Write,
)
from durable_jobs_core.errors import StorageError
from durable_jobs_core.words import Key

FOREVER = 2**63 - 1
DONE = Committed()
PAGES_MAX = 1_000
ASKED = "asked: "
"""How the notes of an exception begin that say what was asked."""
_TEXT = 400


class Broken(AssertionError):
    """A rule is broken: `expected`, `got`, what was `asked` last, and of which `rule` and `check`."""

    def __init__(self, expected: Any, got: Any, asked: tuple[str, ...] = (), why: str = "") -> None:
        super().__init__(why)
        self.expected, self.got, self.asked, self.why = expected, got, asked, why
        self.rule = self.check = ""

    def of(self, rule: str, check: str) -> Broken:
        """The same, of a check."""
        self.rule, self.check = rule, check
        return self

    def __str__(self) -> str:
        lines = [f"{self.rule} {self.check.replace('_', ' ')}".strip(), self.why]
        lines += [f"  asked     {asked}" for asked in self.asked]
        expected, got = apart(self.expected, self.got)
        lines += [f"  expected  {clip(expected)}", f"  got       {clip(got)}"]
        for note, same in groupby(getattr(self, "__notes__", ())):
            count = len(tuple(same))
            lines.append(f"  note      {note}" + f"  ({count} times)" * (count > 1))
        return "\n".join(line for line in lines if line)


def clip(value: Any) -> str:
    """A value as text, of bearable length."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _TEXT else f"{text[:_TEXT]}… ({len(text)} characters)"


def apart(expected: Any, got: Any) -> tuple[Any, Any]:
    """Where two long sequences differ first, and not the whole, in which that may not be seen."""
    if not (expected and got and isinstance(expected, (list, tuple)) and isinstance(got, (list, tuple))):
        return expected, got
    if max(len(repr(expected)), len(repr(got))) <= _TEXT:
        return expected, got
    pairs = zip_longest(map(repr, expected), map(repr, got), fillvalue="nothing")
    place, pair = next(((n, pair) for n, pair in enumerate(pairs) if pair[0] != pair[1]), (0, ("", "")))
    counts = len(expected), len(got)
    first, second = (f"at {place} of {count}: {text}" for count, text in zip(counts, pair, strict=True))
    return first, second


class Port:
    """One handle on a store."""

    JOB: Any = ("task", "mail")

    def __init__(self, store: Store, first: Port | None = None) -> None:
        self.store = store
        self._all: list[Port] = [] if first is None else first._all
        self._asked: deque[str] = deque(maxlen=4) if first is None else first._asked
        self.backend = store.open()
        self._all.append(self)

    def again(self) -> Port:
        """Another handle on the same store."""
        return Port(self.store, self)

    def close_all(self) -> None:
        """Close every handle there is."""
        for port in self._all:
            port.backend.close()

    def same(self, got: Any, expected: Any, why: str = "") -> None:
        """Raise `Broken` unless they are equal."""
        if got != expected:
            raise Broken(expected, got, tuple(self._asked), why)

    def holds(self, truth: object, expected: str, got: Any, why: str = "") -> None:
        """Raise `Broken` unless it is true."""
        if not truth:
            raise Broken(expected, got, tuple(self._asked), why)

    def ask(
        self,
        *writes: Write | Defer,
        loads: tuple[Key, ...] = (),
        claim: Claim | None = None,
        not_after: int = FOREVER,
        settle: bool = False,
    ) -> Answer:
        """One exchange, with each lane that is concerned."""
        batch = Batch(writes=writes, loads=loads, claim=claim, not_after=not_after, settle=settle)
        with self._telling(told(batch)):
            answers = {lane: self._ask(lane, part) for lane, part in split(self.backend, batch).items()}
            return join(self.backend, batch, answers)

    @contextmanager
    def _telling(self, what: str) -> Generator[None]:
        """What is asked, by which handle; what the backend raises tells it too."""
        number = self._all.index(self) + 1
        self._asked.append(what if len(self._all) == 1 else f"[handle {number}] {what}")
        try:
            yield
        except Broken:
            raise
        except Exception as error:
            for each in tuple(self._asked):
                error.add_note(f"{ASKED}{each}")
            raise

    def formed(self, place: str, value: Any, form: Any) -> None:
        """Raise `Broken` unless it is of the types that the port names."""
        found = misfit(place, value, form)
        if found is not None:
            where, wanted, got = found
            self.holds(
                False, f"{where}: {named(wanted)}", f"{clip(got)}: {type(got).__name__}", "types of the port"
            )

    def _ask(self, lane: int, batch: Batch) -> Answer:
        answer = self.backend.exchange(lane, batch)
        self.formed("answer", answer, Answer)
        counts, wanted = (len(answer.outcomes), len(answer.rows)), (len(batch.writes), len(batch.loads))
        self.same(counts, wanted, "an answer has one outcome a write and one row a load")
        others = [row.key for row in answer.claimed if self.backend.lane(row.key) != lane]
        self.same(others, [], f"lane {lane} of {self.backend.lanes} claims what is its own")
        return answer

    def by_lane(self, keys: Iterable[Key]) -> list[list[Key]]:
        """The keys of each lane, in their order: what is said of a claim is said of each lane."""
        found: list[list[Key]] = [[] for _ in range(self.backend.lanes)]
        for key in keys:
            found[self.backend.lane(key)].append(key)
        return found

    def create(self, *ids: str, wake: int | None = None, blob: bytes = b"{}") -> list[Row]:
        """Rows of the job `mail`, revision `r0`."""
        rows = [self.row(id, wake=wake, blob=blob) for id in ids]
        answer = self.ask(*(Write(row.key, None, row) for row in rows))
        self.same(answer.outcomes, (DONE,) * len(rows), "there was nothing; what is sent twice meets itself")
        return rows

    def load(self, id: str) -> Any:
        """What is stored in the job `mail`."""
        (row,) = self.ask(loads=(self.key(id),)).rows
        return row

    def claim(self, now: int, *, limit: int = 10, until: int | None = None, **more: Any) -> list[str]:
        """The ids claimed of the job `mail`; a hold of 1,000."""
        claim = Claim({self.JOB: limit}, now, now + 1_000 if until is None else until, **more)
        return [row.key.id for row in self.ask(claim=claim).claimed]

    def clock_of_all(self) -> int:
        """The clock of the lane that is behind, of a batch that asks for nothing else."""
        lanes = range(self.backend.lanes)
        return min(self.backend.exchange(lane, Batch(not_after=FOREVER)).clock for lane in lanes)

    def next_wake(self, *jobs: tuple[Any, str]) -> int | None:
        """The earliest entry, without claiming any."""
        return self.ask(claim=Claim(dict.fromkeys(jobs or (self.JOB,), 1), -(2**63), 0)).next_wake

    def scan(self, limit: int = 100, **query: Any) -> list[str]:
        """All ids listed, page by page."""
        return [row.key.id for page in self.pages(limit, **query) for row in page.rows]

    def listed(self, limit: int, **query: Any) -> list[Row | Damaged]:
        """All rows listed, in the order of their keys: a backend lists them in one of its choice."""
        rows = [row for page in self.pages(limit, **query) for row in page.rows]
        return sorted(rows, key=lambda row: row.key)

    def knows_jobs(self, *jobs: tuple[Any, str]) -> None:
        """`health().jobs` are these, or none if that is not cheap to tell."""
        got = self.health().jobs
        self.holds(got == () or sorted(got) == list(jobs), f"{jobs} or nothing", got, "jobs of health()")

    def health(self) -> Health:
        """What it says of itself."""
        with self._telling("health"):
            health = self.backend.health()
            self.formed("health", health, Health)
            return health

    def pages(self, limit: int, after: str | None = None, **query: Any) -> Iterator[Page]:
        """All pages, or those after a cursor."""
        for _ in range(PAGES_MAX):
            page = self.page(after, limit, **query)
            yield page
            self.holds(page.after != after or after is None, "a cursor that goes on", f"{after!r} again")
            after = page.after
            if after is None:
                return
        self.holds(False, "an end", f"{PAGES_MAX} pages")

    def page(self, after: str | None, limit: int, **query: Any) -> Page:
        """One page."""
        with self._telling(f"scan({query}, after={after!r}, limit={limit})"):
            page = self.backend.scan(Query(**query), after, limit)
            self.formed("page", page, Page)
        self.holds(len(page.rows) <= limit, f"at most {limit} rows", len(page.rows))
        return page

    @staticmethod
    def key(id: str, job: str = "mail", kind: Any = "task") -> Key:
        """A key of the job `mail`."""
        return Key(kind, job, id)

    @classmethod
    def row(
        cls,
        id: str,
        revision: bytes = b"r0",
        wake: int | None = None,
        status: str = "idle",
        blob: bytes = b"{}",
        **key: Any,
    ) -> Row:
        """A row of the job `mail`."""
        return Row(cls.key(id, **key), revision, wake, status, blob)


def refuses(port: Port, act: Callable[[], object]) -> None:
    """`act` raises `StorageError`."""
    try:
        got = act()
    except StorageError:
        return
    port.holds(False, "StorageError", got)


def told(batch: Batch) -> str:
    """A batch in one line."""
    parts = [f"{type(write).__name__} {_write(write)}" for write in batch.writes[:3]]
    parts += _more(batch.writes, 3)
    if batch.loads:
        parts.append(f"load {', '.join(map(str, batch.loads[:4]))}")
        parts += _more(batch.loads, 4)
    if batch.claim is not None:
        jobs = list(batch.claim.limits.items())
        limits = {f"{kind}:{job}": limit for (kind, job), limit in jobs[:4]}
        parts.append(f"claim {limits} due at {batch.claim.now}, hold until {batch.claim.until}")
        parts += _more(jobs, 4)
    if batch.settle:
        parts.append("settle")
    if batch.not_after != FOREVER:
        parts.append(f"not after {batch.not_after}")
    return clip("; ".join(parts) or "nothing")


def _more(parts: Sequence[object], shown: int) -> list[str]:
    return [f"and {len(parts) - shown} more"] if len(parts) > shown else []


def _write(write: Write | Defer) -> str:
    if isinstance(write, Defer):
        return f"{write.key} expecting {write.expected!r}: entry {write.wake}"
    if write.row is None:
        return f"{write.key} expecting {write.expected!r}: delete"
    return f"{write.key} expecting {write.expected!r}: {write.row.revision!r}, wake {write.row.wake}"
