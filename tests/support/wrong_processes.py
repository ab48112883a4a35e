"""Backends that are right in one process, or until it is killed, or until its server is."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import attrs
from durable_jobs_conformance import Harness
from durable_jobs_memory import _Store
from file_backend import FileBackend
from support.wrong_backends import Folders, Reconnects, Served, harness

from durable_jobs_core.backend import Answer, Batch, Claim, Refused, Row

# -- files


class LocksItsProcess(FileBackend):
    """Other processes do not see the lock."""

    locks: ClassVar[dict[tuple[int, Path], threading.Lock]] = {}

    @contextmanager
    def _locked(self) -> Generator[None]:
        with self.locks.setdefault((os.getpid(), self._folder), threading.Lock()):
            yield
            self._replace("clock", str(self._clock()))

    def _replace(self, name: str, text: str) -> None:
        draft = self._folder / f"draft-{os.getpid()}"  # so far it is right
        draft.write_text(text)
        draft.replace(self._folder / name)


class RemembersForItsProcess(FileBackend):
    """What other processes write is not seen where it was read before."""

    read: ClassVar[dict[tuple[int, Path, str], Any]] = {}

    def _read(self, name: str) -> tuple[Row, int | None] | None:
        place = os.getpid(), self._folder, name
        if self.read.get(place) is None:
            self.read[place] = super()._read(name)
        found = self.read[place]
        return found if (self._folder / name).exists() else None

    def _replace(self, name: str, text: str) -> None:
        super()._replace(name, text)
        self.read.pop((os.getpid(), self._folder, name), None)


class ClockOfItsProcess(FileBackend):
    """The latest that was told is known to the process that told it."""

    latest: ClassVar[int] = 0

    def _clock(self) -> int:
        ClockOfItsProcess.latest = max(self.latest, int(time.time() * 1000))
        return self.latest


class IndexesLater(FileBackend):
    """Entries are written by the next exchange, by a claim, or when it is closed."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._later: list[tuple[Row, int | None]] = []

    def exchange(self, lane: int, batch: Batch) -> Answer:
        self._index()
        return super().exchange(lane, batch)

    def close(self) -> None:
        self._index()
        super().close()

    def _put(self, row: Row, entry: int | None) -> None:
        super()._put(row, None)
        self._later.append((row, entry))

    def _entries(self, jobs: Any) -> list[tuple[int, Row]]:
        self._index()
        return super()._entries(jobs)

    def _index(self) -> None:
        later, self._later = self._later, []
        for row, entry in later:
            super()._put(row, entry)


class DueByItsOwnClock(FileBackend):
    """By the wall clock each hold of the kit has ended: who claims until nothing is left never ends."""

    def _claim(self, claim: Claim) -> tuple[Row, ...]:
        return super()._claim(attrs.evolve(claim, now=self._clock()))


class IndexesWhenOpened(FileBackend):
    """Who opens it first makes its index from the rows; to the others nothing is done."""

    handles: ClassVar[Counter[Path]] = Counter()

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        if not self.handles[folder]:
            with self._locked():
                for row, _ in filter(None, map(self._read, self._names())):
                    self._put(row, row.wake)
        self.handles[folder] += 1

    def close(self) -> None:
        self.handles[self._folder] -= not self._closed.is_set()
        super().close()


# -- a server


class ServedAnew(Served):
    """A server that makes its index from the rows when it starts."""

    def crash(self) -> None:
        super().crash()
        with self.rows.lock:
            for row in self.rows.rows.values():
                self.rows._index(row.key, row.wake)


class Cut(Served):
    """A server that is killed when it has done what it was asked, and has not answered."""

    batches = 0

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.killed = threading.Event()

    def done(self) -> None:
        self.batches += 1
        if self.batches > 3:  # since the last crash
            self.killed.clear()
            self.killed.wait(0.05)

    def crash(self) -> None:
        super().crash()
        self.batches = 0
        self.killed.set()


class Asks(Reconnects):
    """The right one: of what was cut off, it does not know."""

    server: Cut

    def exchange(self, lane: int, batch: Batch) -> Answer:
        answer = super().exchange(lane, batch)
        self.server.done()
        return answer if self.connected == self.server.served else self.cut(batch, answer)

    def cut(self, batch: Batch, answer: Answer) -> Answer:
        self.fail()
        return answer


class RefusesWhatWasCut(Asks):
    def cut(self, batch: Batch, answer: Answer) -> Answer:
        self.connected = None
        refused = Refused("the connection was lost", transient=True)
        return attrs.evolve(answer, outcomes=(refused,) * len(batch.writes))


class SendsAgain(Asks):
    def cut(self, batch: Batch, answer: Answer) -> Answer:
        self.connected = None
        return super().exchange(0, batch)


class LosesWhatItAcknowledged(Asks):
    """The server had it in its memory."""

    def cut(self, batch: Batch, answer: Answer) -> Answer:
        self.connected = None
        with self._store.lock:
            for write in batch.writes:
                del self._store.rows[write.key]
                self._store._index(write.key, None)
        return answer


class LosesEntries(Asks):
    """The server writes the rows of a batch, then its entries."""

    def cut(self, batch: Batch, answer: Answer) -> Answer:
        with self._store.lock:
            for write in batch.writes:
                self._store._index(write.key, None)
        return super().cut(batch, answer)


FILES = [
    (LocksItsProcess, "R-2-commits_of_processes_form_one_chain_a_key"),
    (LocksItsProcess, "R-7-every_entry_is_claimed_once_by_processes"),
    (RemembersForItsProcess, "R-2-commits_of_processes_form_one_chain_a_key"),
    (ClockOfItsProcess, "R-8-the_clock_does_not_go_back_in_another_process"),
    (IndexesLater, "R-1-what_a_killed_process_wrote_is_whole_with_its_entry"),
    (DueByItsOwnClock, "R-3-what_a_crash_cuts_off_no_one_can_tell"),
    (IndexesWhenOpened, "R-6-holds_and_deferrals_survive_when_all_handles_are_closed"),
]
CUTS = [RefusesWhatWasCut, SendsAgain, LosesWhatItAcknowledged, LosesEntries]


def _case(right: tuple[Any, ...], wrong: tuple[Any, ...], check: str) -> tuple[str, Harness, Harness, str]:
    name = wrong[-1].__name__
    return name, harness(*wrong, can=("durable",)), harness(*right, can=("durable",)), check


SHELF: list[tuple[str, Harness, Harness, str]] = [
    *(_case((Folders,), (Folders, wrong), check) for wrong, check in FILES),
    *(
        _case((Cut, _Store, Asks), (Cut, _Store, wrong), "R-3-what_a_crash_cuts_off_no_one_can_tell")
        for wrong in CUTS
    ),
    _case((Served,), (ServedAnew,), "R-6-holds_and_deferrals_survive_a_crash"),
]
"""As in `wrong_backends`."""
