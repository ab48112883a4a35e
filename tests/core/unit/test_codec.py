"""A record as bytes: frame, checksum, versions, and the upcasters of users (S-6, D-9)."""

from __future__ import annotations

import json
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from attrs import evolve, fields, has
from support.frames import framed

from durable_jobs_core import codec, every
from durable_jobs_core.backend import Damaged, Row
from durable_jobs_core.codec import Newer, decode, encode, load, upcast
from durable_jobs_core.definitions import Continuous, Debounce
from durable_jobs_core.record import (
    Batch,
    ContinuousBody,
    DebounceBody,
    Record,
    Run,
    Stored,
    TaskBody,
    Window,
)
from durable_jobs_core.words import Key, Kind, Revision

KEY = Key("continuous", "tick", "a")
BODY = ContinuousBody(state=Stored(1, {"n": 5}), next_at=2_000)
RECORD = Record(revision=Revision(1, 2, 3), writers=((3, 2),), created_at=500, at=1_000, seq=4, body=BODY)
ROW = encode(KEY, RECORD, wake=2_000)


def text_of(row: Row) -> dict[str, Any]:
    text: dict[str, Any] = json.loads(row.blob[12:])
    return text


def tick(**options: Any) -> Continuous[Any]:
    return Continuous.make(state=dict, schedule=every("1s"), execute=lambda ctx: None, **options)


def why(loaded: object) -> str:
    assert isinstance(loaded, Damaged)
    return loaded.why


def test_S_6_a_row_has_a_frame_with_the_schema_and_the_state_has_its_version() -> None:
    magic, schema, length, checksum = struct.unpack_from(">2sHII", ROW.blob)

    assert (magic, schema, length) == (b"DJ", 1, len(ROW.blob) - 12)
    assert checksum == zlib.crc32(ROW.blob[:8] + ROW.blob[12:])
    assert (ROW.key, ROW.wake, ROW.status) == (KEY, 2_000, "running")
    assert ROW.revision == RECORD.revision.to_bytes()
    assert text_of(ROW)["body"]["state"] == [1, {"n": 5}]


def test_S_6_a_record_as_json_is_read_as_its_row_is() -> None:
    told = codec.as_json(KEY, RECORD)

    assert told == {"schema": 1, "revision": ROW.revision.hex(), "record": text_of(ROW)}
    assert codec.from_json(tick(), KEY, told) == RECORD
    assert isinstance(codec.from_json(tick(), KEY, {**told, "schema": 2}), Newer)


def test_S_64_the_text_is_canonical_json_in_which_defaults_are_left_out() -> None:
    assert ROW.blob[12:] == (
        b'{"at":1000,"body":{"next_at":2000,"state":[1,{"n":5}]},"created_at":500,"seq":4,"writers":[[3,2]]}'
    )


FAILURE = {"type": "E", "message": "no", "stack": "here"}
RUN = {
    "number": 3,
    "hook": "execute",
    "attempt": 2,
    "crashes": 1,
    "due": 5,
    "lease": [2, 7, 1, 9],
    "first_at": 1,
}
RUN |= {"scheduled_for": 4, "failure": FAILURE, "forced": True}
OUTCOME = {"run": 3, "result": "retrying", "at": 8, "error": FAILURE, "retry_at": 9}
WINDOW = {"state": [1, {}], "count": 2, "started_at": 1, "due_at": 9, "cause": "manual", "deferred": True}
COMMON = {"run": RUN, "runs": 3, "ended": 6, "last_error": FAILURE, "outcome": OUTCOME}
FORMS: dict[Kind, dict[str, Any]] = {
    "continuous": {"state": [1, {}], "next_at": 9, "paused": True, "last_run_at": 2},
    "debounce": {
        "window": WINDOW,
        "batch": {"state": [1, {}], "count": 4, "started_at": 1, "reason": "maxEvents"},
        "ids": [["a", 9]],
        "marked": True,
        "lost": [OUTCOME],
    },
    "task": {
        "state": [1, {}],
        "scheduled_at": 9,
        "intake": RUN,
        "inbox": [{"event": [1], "id": "a"}],
        "dead": [{"event": [2], "failure": FAILURE, "at": 8, "id": "b"}],
        "ids": [["a", 9]],
        "event_count": 2,
        "execute_count": 1,
    },
}


def silent(value: object) -> Iterator[str]:
    """The fields within a value that are not written, having their defaults."""
    for item in value if isinstance(value, tuple) else ():
        yield from silent(item)
    for one in fields(type(value)) if has(type(value)) else ():
        if getattr(value, one.name) == one.default:
            yield f"{type(value).__name__}.{one.name}"
        yield from silent(getattr(value, one.name))


@pytest.mark.parametrize("kind", FORMS)
def test_S_6_the_form_of_schema_1_has_these_fields_and_no_others(kind: Kind) -> None:
    """With a field more, fewer or renamed it is another form, which releases that know this one would take
    for damage: raise `SCHEMA`, add an upcaster, and keep these texts as those of the older schema."""
    body = COMMON | FORMS[kind]
    text = {"writers": [[3, 2]], "created_at": 500, "at": 1_000, "seq": 4, "body": body}

    record = decode(framed(evolve(ROW, key=Key(kind, "job", "a")), json.dumps(text).encode(), schema=1))

    assert isinstance(record, Record)
    assert list(silent(record)) == []
    assert (codec.SCHEMA, text_of(encode(Key(kind, "job", "a"), record, 9))) == (1, text)


@pytest.mark.parametrize("place", range(len(ROW.blob)))
def test_S_6_a_changed_byte_is_noticed(place: int) -> None:
    blob = bytearray(ROW.blob)
    blob[place] ^= 1

    assert isinstance(decode(evolve(ROW, blob=bytes(blob))), Damaged)


@pytest.mark.parametrize("length", [0, 11, 12, len(ROW.blob) - 1])
def test_S_6_a_cut_row_is_noticed_and_kept_as_it_is(length: int) -> None:
    row = evolve(ROW, blob=ROW.blob[:length])

    damaged = decode(row)

    assert isinstance(damaged, Damaged)
    assert (damaged.key, damaged.revision, damaged.raw) == (KEY, row.revision, row.blob)


BROKEN: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no object": lambda data: [data],
    "no body": lambda data: {**data, "body": None},
    "no state": lambda data: {**data, "body": {"next_at": 1}},
    "a field nobody knows": lambda data: {**data, "body": {**data["body"], "more": 1}},
    "no writers": lambda data: {**data, "writers": []},
    "no time": lambda data: {name: value for name, value in data.items() if name != "at"},
    "half a state": lambda data: {**data, "body": {**data["body"], "state": [1]}},
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
def test_S_6_a_text_of_another_form_is_damage_though_its_checksum_is_right(broken: Any) -> None:
    assert isinstance(decode(framed(ROW, json.dumps(broken(text_of(ROW))).encode())), Damaged)


def test_S_6_a_row_torn_between_revision_and_text_is_damage() -> None:
    torn = evolve(ROW, revision=Revision(1, 3, 3).to_bytes())

    assert why(decode(torn)) == "the revision is not that of the last writer"
    assert why(decode(framed(ROW, b"{}", magic=b"XX"))) == "frame or checksum is wrong"
    assert why(decode(framed(ROW, b"not json"))).startswith("JSONDecodeError")
    assert why(decode(framed(ROW, ROW.blob[12:] + b" "))) == "the text does not end where the record ends"
    assert why(decode(framed(ROW, b"[" * 100_000))).startswith("RecursionError")


def test_S_6_a_newer_schema_is_no_damage() -> None:
    row = framed(ROW, b"whatever it will be", schema=2)

    assert decode(row) == Newer(row, "schema", 2, 1)
    assert load(tick(), row) == Newer(row, "schema", 2, 1)


def test_S_6_an_older_schema_passes_through_upcasters(monkeypatch: pytest.MonkeyPatch) -> None:
    data = text_of(ROW)
    data["sequence"] = data.pop("seq")
    old = framed(ROW, json.dumps(data).encode(), schema=0)
    assert why(decode(old)).startswith("KeyError")  # there is no way from it

    monkeypatch.setattr(codec, "_UPCASTERS", {0: lambda data: {**data, "seq": data["sequence"]}})

    assert decode(old) == RECORD
    assert encode(KEY, RECORD, 2_000) == ROW  # the next commit rewrites it


def test_S_6_a_newer_state_version_is_left_to_newer_releases() -> None:
    row = encode(KEY, evolve(RECORD, body=evolve(BODY, state=Stored(3, {}))), 2_000)

    assert load(tick(state_version=2), row) == Newer(row, "state version", 3, 2)


def test_S_6_state_of_the_current_version_is_loaded_as_it_is() -> None:
    assert load(tick(), ROW) == RECORD
    damaged = load(tick(), evolve(ROW, blob=b""))
    assert isinstance(damaged, Damaged)


def rename(data: Any) -> Any:
    data["count"] = data.pop("n")
    return data


def double(data: Any) -> Any:
    return {"count": data["count"] * 2}


def test_S_6_older_state_passes_through_upcasters() -> None:
    definition = tick(state_version=3, upcasters={1: rename, 2: double})

    record = load(definition, ROW)

    assert isinstance(record, Record)
    assert record == evolve(RECORD, body=evolve(BODY, state=Stored(3, {"count": 10})))


def boom(data: Any) -> Any:
    data.clear()
    raise RuntimeError("boom")


@pytest.mark.parametrize(
    "upcasters",
    [
        {},
        {1: boom, 2: double},
        {1: rename, 2: boom},
        {1: lambda data: sys.exit(), 2: double},
        {1: lambda data: {"at": object()}, 2: double},
        {1: rename, 2: lambda data: {"n": float("nan")}},
        {1: rename, 2: lambda data: [data]},
    ],
    ids=["missing", "fails", "one fails", "exits", "no JSON", "NaN", "does not fit"],
)
def test_S_6_state_without_a_way_to_the_current_version_is_left_as_it_is(upcasters: Any) -> None:
    stored = Stored(1, {"n": 5})

    assert upcast(tick(state_version=3, upcasters=upcasters), stored) == Stored(1, {"n": 5})
    assert stored.value == {"n": 5}  # whatever an upcaster did to what it was given


def test_S_6_a_debounce_has_two_states_and_each_is_upcast() -> None:
    definition = Debounce.make(
        event=dict, flush_after="1s", execute=lambda ctx: None, state_version=2, upcasters={1: rename}
    )
    key = Key("debounce", "fold", "a")
    window = Window(state=Stored(2, {"count": 1}), count=1, started_at=1, due_at=2)
    batch = Batch(state=Stored(1, {"n": 1}), count=1, started_at=0, reason="manual")
    body = DebounceBody(window=window, batch=batch, run=Run(number=1, hook="execute", due=1))
    row = encode(key, evolve(RECORD, body=body), 2)

    record = load(definition, row)

    assert isinstance(record, Record)
    assert record.body == evolve(body, batch=evolve(batch, state=Stored(2, {"count": 1})))


def test_S_6_a_task_may_have_no_state_yet() -> None:
    key = Key("task", "chore", "a")
    row = encode(key, evolve(RECORD, body=TaskBody()), None)

    assert load(tick(state_version=9), row) == evolve(RECORD, body=TaskBody())
