"""Damage within the file: a row that cannot be read is told as such and disturbs no other (R-9)."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from durable_jobs_sqlite import SQLiteBackend, StoreError
from durable_jobs_sqlite._rows import cell_of
from support.files import page_size, raw, spoil

from durable_jobs_core.backend import (
    Batch,
    Claim,
    Committed,
    Conflicted,
    Damaged,
    Defer,
    Query,
    Refused,
    Row,
    Write,
)
from durable_jobs_core.words import Key

DONE = Committed()
FOREVER = 2**63 - 1
IDS = [f"{n:03}" for n in range(60)]
T = 1_700_000_000_000


# -- cells that are not what they ought to be


TYPES = "its cells (revision, wake, status, blob) are "
SPOILED = {
    "revision = 'r0'": f"{TYPES}str, int, str, bytes",
    "blob = '{}'": f"{TYPES}bytes, int, str, str",
    "status = x'ff'": f"{TYPES}bytes, int, bytes, bytes",
    "wake = x'ff'": f"{TYPES}bytes, bytes, str, bytes",
    "status = CAST(x'ff' AS TEXT)": "Could not decode to UTF-8 column 'status'",
}


@pytest.fixture(params=SPOILED)
def spoiled(request: pytest.FixtureRequest, sqlite, path) -> str:
    """Five rows, of which `b` has a cell that is not what it ought to be; what is said of it."""
    sqlite.create(*"abcde", wake=10)
    sqlite.backend.close()
    spoil(path, f"UPDATE rows SET {request.param} WHERE id = 'b'")
    return SPOILED[request.param]


@pytest.mark.parametrize("value", ["x'ff'", "'soon'", "1e300", "-1e999", "10.5", "NULL"])
def test_r6_an_entry_that_is_no_instant_is_put_back(sqlite, path, value) -> None:
    sqlite.create("a", "b", wake=10)
    sqlite.backend.close()
    spoil(path, f"UPDATE rows SET entry = {value}, held = x'ff' WHERE id = 'a'")
    handle = sqlite.again()
    assert handle.next_wake() == 10
    assert handle.load("a") == handle.row("a", wake=10)
    assert sorted(handle.claim(10)) == ["a", "b"]


def test_r6_an_entry_that_is_later_than_its_row_is_put_back_once_no_hold_explains_it(sqlite, path) -> None:
    """A commit ends a hold, and so does being put back."""
    _, same = sqlite.create("a", "b", wake=10)
    assert sqlite.claim(10) == ["a", "b"]
    new = sqlite.row("a", b"r1", wake=20)
    assert sqlite.ask(Write(new.key, b"r0", new), Defer(same.key, b"r0", None)).outcomes == (DONE,) * 2
    assert sqlite.load("b") == same
    sqlite.backend.close()
    spoil(path, "UPDATE rows SET entry = 500")
    handle = sqlite.again()
    assert handle.claim(499) == []
    assert [handle.load("a"), handle.load("b")] == [new, same]
    assert handle.claim(20) == ["b", "a"]


def test_r9_a_row_whose_id_is_no_text_disturbs_no_other(sqlite, path) -> None:
    sqlite.create(*"abcde", wake=10)
    sqlite.backend.close()
    spoil(path, "UPDATE rows SET id = x'ff' WHERE id = 'b'")
    handle = sqlite.again()
    assert handle.load("b") is None
    assert sorted(handle.claim(10)) == ["", *"acde"]
    assert handle.next_wake() == 1_010
    with pytest.raises(StoreError, match="the index of keys is damaged"):
        handle.scan()


def test_r9_a_row_of_other_types_is_told_as_damaged_and_disturbs_no_other(sqlite, spoiled) -> None:
    handle = sqlite.again()
    damaged = handle.load("b")
    assert isinstance(damaged, Damaged)
    assert damaged.key == handle.key("b")
    assert damaged.why.startswith(spoiled)
    assert handle.load("b") == damaged
    for id in "acde":
        assert handle.load(id) == handle.row(id, wake=10)
    (page,) = handle.pages(10)
    assert [row.key.id for row in page.rows] == [*"abcde"]
    assert page.rows[1] == damaged
    assert handle.scan(status="idle") == [*"acde"]
    assert handle.claim(10, limit=2) != []
    claimed = [*handle.claim(10), *handle.claim(10)]
    assert claimed.count("b") <= 1
    assert handle.next_wake() == 1_010


@pytest.mark.parametrize("act", ["delete", "defer", "put"])
def test_r9_a_damaged_row_can_be_deleted_and_deferred_but_not_overwritten(sqlite, spoiled, act) -> None:
    handle = sqlite.again()
    revision = handle.load("b").revision
    key = handle.key("b")
    write: Write | Defer = {
        "delete": Write(key, revision, None),
        "defer": Defer(key, revision, None),
        "put": Write(key, revision, handle.row("b", b"r1")),
    }[act]
    (outcome,) = handle.ask(write).outcomes
    if act == "put":
        assert isinstance(outcome, Refused)
        assert not outcome.transient
        assert "can only be deleted" in outcome.reason
    else:
        assert outcome == DONE
    assert isinstance(handle.load("b"), type(None) if act == "delete" else Damaged)
    if act != "put":
        assert sorted(handle.claim(10)) == [*"acde"]
    assert handle.scan() == [*("acde" if act == "delete" else "abcde")]


@pytest.mark.parametrize("count", [1, 40])
def test_r9_a_write_that_expects_another_revision_meets_the_damaged_row(sqlite, spoiled, count) -> None:
    handle = sqlite.again()
    ids = [f"n{n}" for n in range(count)]
    writes = [Write(handle.key(id), None, handle.row(id)) for id in ids]
    *outcomes, last = handle.ask(*writes, Write(handle.key("b"), b"no", None)).outcomes
    assert outcomes == [DONE] * count
    assert last == Conflicted(handle.load("b"))


# -- values SQLite cannot take


ODD = ["\ud800", "a\udfffb"]


@pytest.mark.parametrize("id", ODD)
def test_r3_a_key_that_is_no_text_is_refused_alone(sqlite, id) -> None:
    keys = [sqlite.key(id) for id in ("a", "b", "c", "d", id, "z")]
    outcomes = sqlite.ask(*(Write(key, None, Row(key, b"r", None, "idle", b"")) for key in keys)).outcomes
    assert [outcome == DONE for outcome in outcomes] == [True] * 4 + [False, True]
    assert isinstance(outcomes[4], Refused)
    assert not outcomes[4].transient
    assert sqlite.load(id) is None
    assert sqlite.scan() == [*"abcdz"]


@pytest.mark.parametrize(
    "fields", [{"wake": 2**63}, {"wake": -(2**63) - 1}, {"status": None}, {"blob": object()}]
)
def test_r3_a_value_that_sqlite_cannot_take_is_refused_alone(sqlite, fields) -> None:
    rows: list[Any] = [sqlite.row("a"), sqlite.row("b", **fields), sqlite.row("c")]
    outcomes = sqlite.ask(*(Write(row.key, None, row) for row in rows)).outcomes
    assert [outcome == DONE for outcome in outcomes] == [True, False, True]
    assert sqlite.scan() == ["a", "c"]


def test_r3_a_batch_of_many_bad_writes_is_refused_for_the_engine_to_halve(sqlite) -> None:
    rows = [sqlite.row(f"{n:02}", wake=2**63 if n < 12 else 5) for n in range(30)]
    writes = [Write(row.key, None, row) for row in rows]
    outcomes = sqlite.ask(*writes).outcomes
    assert all(isinstance(outcome, Refused) and not outcome.transient for outcome in outcomes)
    assert sqlite.scan() == []
    assert sqlite.ask(*writes[12:]).outcomes == (DONE,) * 18


def test_r7_instants_beyond_sqlites_are_compared_as_its_last(sqlite) -> None:
    sqlite.create("a", wake=10)
    assert sqlite.claim(2**70, until=2**71) == ["a"]
    assert sqlite.next_wake() == 2**63 - 1


# -- pages


def pages_of(path: Path, name: str) -> list[int]:
    """The leaves of a table or an index."""
    with raw(path) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (name,)).fetchone()
    size = page_size(path)
    content = path.read_bytes()
    found, todo = [], [root]
    while todo:
        page = todo.pop()
        start = (page - 1) * size
        kind, _, cells = struct.unpack(">BHH", content[start : start + 5])
        if kind in (10, 13):
            found.append(page)
            continue
        (right,) = struct.unpack(">I", content[start + 8 : start + 12])
        todo.append(right)
        for n in range(cells):
            at = start + 12 + 2 * n
            (cell,) = struct.unpack(">H", content[at : at + 2])
            todo += struct.unpack(">I", content[start + cell : start + cell + 4])
    return sorted(found)


def overwrite(path: Path, page: int) -> None:
    """A page is lost."""
    size = page_size(path)
    with open(path, "r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xa5" * size)


@pytest.fixture
def many(sqlite, path) -> Path:
    """A closed store of 60 rows on many pages, all due."""
    sqlite.ask(
        *(
            Write(sqlite.key(id), None, sqlite.row(id, wake=T + n, blob=b"x" * 900))
            for n, id in enumerate(IDS)
        )
    )
    sqlite.backend.close()
    return path


def test_r9_a_lost_page_of_the_table_takes_its_rows_and_no_others(sqlite, many) -> None:
    overwrite(many, pages_of(many, "rows")[3])
    handle = sqlite.again()
    rows = {id: handle.load(id) for id in IDS}
    lost = [id for id, row in rows.items() if isinstance(row, Damaged)]
    assert 1 <= len(lost) <= 5
    assert all(
        rows[id] == handle.row(id, wake=T + n, blob=b"x" * 900) for n, id in enumerate(IDS) if id not in lost
    )
    assert handle.scan(limit=7) == IDS
    listed = [row for page in handle.pages(7) for row in page.rows]
    assert [row.key.id for row in listed if isinstance(row, Damaged)] == lost
    assert handle.scan(status="idle") == [id for id in IDS if id not in lost]

    claimed = [id for _ in range(10) for id in handle.claim(T + 99, limit=20)]
    assert sorted(claimed) == IDS
    assert handle.next_wake() == T + 1_099
    assert handle.claim(T + 1_099, limit=100) == [id for id in IDS if id not in lost]
    assert handle.backend.health().warnings == ()

    new = Write(handle.key("new"), None, handle.row("new"))
    gone = Write(handle.key(lost[0]), rows[lost[0]].revision, None)
    (refused, done) = handle.ask(gone, new).outcomes
    assert isinstance(refused, Refused)
    assert done == DONE
    (warning,) = handle.backend.health().warnings
    assert "cannot be written: it is damaged (SQLITE_CORRUPT)" in warning


def test_r7_a_claim_of_few_bytes_takes_damaged_rows_in_their_turn(sqlite, many) -> None:
    overwrite(many, pages_of(many, "rows")[3])
    handle = sqlite.again()
    taken: list[str] = []
    while claimed := handle.claim(T + 99, max_bytes=2_000):
        assert len(claimed) <= 2 + 5
        taken += claimed
    assert sorted(taken) == IDS


def test_r9_a_lost_page_of_the_due_index_stops_claims_and_is_said(sqlite, many, caplog) -> None:
    overwrite(many, pages_of(many, "rows_due")[0])
    handle = sqlite.again()
    assert [handle.claim(T + 99) for _ in range(3)] == [[], [], []]
    (told,) = {text for text in caplog.messages if "due work cannot be" in text}
    assert caplog.messages.count(told) == 1
    assert {record.name for record in caplog.records} == {"durable_jobs"}
    assert any("due work cannot be" in warning for warning in handle.backend.health().warnings)
    assert handle.load("005") == handle.row("005", wake=T + 5, blob=b"x" * 900)
    assert handle.scan() == IDS
    handle.backend.wait(0.01)


def test_r9_a_row_that_cannot_be_put_back_into_a_lost_index_is_read_all_the_same_and_said(
    sqlite, many
) -> None:
    spoil(many, "UPDATE rows SET entry = NULL WHERE id = '005'")
    for page in pages_of(many, "rows_due"):
        overwrite(many, page)
    handle = sqlite.again()
    assert handle.load("005") == handle.row("005", wake=T + 5, blob=b"x" * 900)
    (warning,) = handle.backend.health().warnings
    assert "task:mail:005 cannot be found when it is due: it is damaged" in warning


def test_r9_a_lost_page_of_the_key_index_is_said_row_by_row(sqlite, many) -> None:
    overwrite(many, pages_of(many, "rows_key")[0])
    handle = sqlite.again()
    rows = [handle.load(id) for id in IDS]
    damaged = [row for row in rows if isinstance(row, Damaged)]
    assert damaged
    assert all(row.why and row.key.id in IDS for row in damaged)
    with pytest.raises(StoreError, match="damaged"):
        handle.scan()
    assert handle.claim(T + 99, limit=100) == IDS


def test_r9_a_lost_clock_is_said(sqlite, many) -> None:
    overwrite(many, pages_of(many, "clock")[0])
    with pytest.raises(StoreError, match="damaged"):
        sqlite.again()


@pytest.mark.parametrize("cells", ["boot = x'ff'", "base = 'x'", "mark = 0.5", "schema = x''"])
def test_r9_a_clock_of_other_types_is_said(sqlite, path, cells) -> None:
    sqlite.backend.close()
    spoil(path, f"UPDATE clock SET {cells}")
    with pytest.raises(StoreError, match="clock"):
        sqlite.again()


# -- any damage


def test_r9_whatever_is_overwritten_nothing_hangs_and_no_sound_row_is_lost(tmp_path) -> None:
    """Bytes at random: every call ends, in an answer or a typed error; and while nothing has been written
    since, a row that SQLite finds by the index and by its number is there."""
    sound = [Fuzz(tmp_path, random.Random(seed)).run() for seed in range(40)]
    assert sum(sound) > 20 * len(sound)


BY_KEY = "SELECT n FROM rows INDEXED BY rows_key WHERE job = ? AND id = ?"
BY_NUMBER = "SELECT job, id, revision, wake, status, blob FROM rows WHERE n = ?"


def cells(row: Row) -> tuple[object, ...]:
    return (cell_of(row.key[:2]), row.key.id, row.revision, row.wake, row.status, row.blob)


class Fuzz:
    """One store with bytes overwritten at random."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.chance = chance
        self.path = folder / "fuzz.db"
        pristine = folder / "pristine.db"
        self.rows = [
            Row(Key("task", "mail", id), b"r0", T + n, "idle", id.encode() * (300 if n % 7 else 3_000))
            for n, id in enumerate(IDS)
        ]
        if not pristine.exists():
            backend = SQLiteBackend.open(f"sqlite:///{pristine}")
            writes = tuple(Write(row.key, None, row) for row in self.rows)
            backend.exchange(0, Batch(writes=writes, not_after=FOREVER))
            backend.close()
        for old in folder.glob("fuzz.db*"):
            old.unlink()
        shutil.copy(pristine, self.path)

    def run(self) -> int:
        """How many rows were sound."""
        self.damage()
        sound = list(self.sound())
        try:
            backend = SQLiteBackend.open(f"sqlite:///{self.path}")
        except StoreError:
            return 0
        try:
            loaded, listed = self.look(backend)
            assert set(sound) <= loaded
            assert listed is None or set(sound) <= listed
            self.act(backend)
            self.look(backend)
        finally:
            backend.close()
        return len(sound)

    def sound(self) -> Iterator[Row]:
        """Those on sound pages. A connection checks a page when it first reads it, and not again: so each
        row is looked for by a connection of its own."""
        for n, row in enumerate(self.rows, 1):
            with raw(self.path) as connection, suppress(sqlite3.Error, UnicodeDecodeError):
                connection.execute("PRAGMA cell_size_check = ON")
                found = connection.execute(BY_KEY, cells(row)[:2]).fetchone()
                if found == (n,) and connection.execute(BY_NUMBER, found).fetchone() == cells(row):
                    yield row

    def damage(self) -> None:
        size = os.path.getsize(self.path)
        with open(self.path, "r+b") as file:
            for _ in range(self.chance.choice([1, 1, 3, 20])):
                file.seek(self.chance.randrange(100, size))
                length = self.chance.choice([1, 2, 8, 64, 4096])
                file.write(
                    self.chance.choice([bytes(length), b"\xff" * length, self.chance.randbytes(length)])
                )

    def look(self, backend: SQLiteBackend) -> tuple[set[Row], set[Row] | None]:
        """What is loaded, and what is listed, if listing comes to an end."""
        loaded: set[Row] = set()
        for row in self.rows:
            answer = self.tried(backend.exchange, 0, Batch(loads=(row.key,), not_after=FOREVER))
            loaded |= set(answer.rows if answer else ())
        self.tried(backend.health)
        backend.wait(0)
        listed: set[Row] = set()
        after = None
        for _ in range(100):
            page = self.tried(backend.scan, Query(), after, 10)
            if page is None:
                return loaded, None
            listed |= set(page.rows)
            after = page.after
            if after is None:
                return loaded, listed
        raise AssertionError("it lists for ever")

    def act(self, backend: SQLiteBackend) -> None:
        claim = Claim({("task", "mail"): 7}, T + 40, T + 1_000)
        for _ in range(12):
            self.tried(backend.exchange, 0, Batch(claim=claim, not_after=FOREVER))
        for row in self.chance.sample(self.rows, 12):
            write = self.chance.choice(
                [
                    Write(row.key, b"r0", None),
                    Defer(row.key, b"r0", T),
                    Write(row.key, b"r0", Row(row.key, b"r1", T + 3, "busy", b"y" * 500)),
                    Write(row.key, None, row),
                ]
            )
            answer = self.tried(backend.exchange, 0, Batch(writes=(write,), not_after=FOREVER))
            assert answer is None or len(answer.outcomes) == 1

    def tried(self, call: Any, *args: Any) -> Any:
        try:
            return call(*args)
        except StoreError:
            return None
