"""A record as bytes (D-9): a fixed frame, then one canonical JSON text.

    magic "DJ" · schema u16 · length u32 · CRC-32 u32 (of all else) · text

The revision is in the row, not in the text; `writers[0]` must agree with it, so that a row torn
between the two is noticed. `SCHEMA` grows when the form of the text changes, by a field with a default too:
releases that do not know the field would take the record for damaged. Older ones pass through `_UPCASTERS`
and are rewritten by the next commit.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Any, Literal, TypeAlias, Union, get_args, get_origin

from cattrs import Converter
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from durable_jobs_core._values import evolve, value
from durable_jobs_core.backend import Damaged, Row
from durable_jobs_core.definitions import AnyDefinition
from durable_jobs_core.failures import RAISED
from durable_jobs_core.kinds import KINDS
from durable_jobs_core.record import (
    AnyBody,
    ContinuousBody,
    DeadEvent,
    DebounceBody,
    Lease,
    QueuedEvent,
    Record,
    Stored,
    TaskBody,
)
from durable_jobs_core.schema import to_json
from durable_jobs_core.words import Json, Key, Kind, Revision, Token

SCHEMA = 1
_MAGIC = b"DJ"
_HEAD = struct.Struct(">2sHI")
_CHECKSUM = struct.Struct(">I")
_TEXT = _HEAD.size + _CHECKSUM.size
_BODIES: Mapping[Kind, type[AnyBody]] = {
    "continuous": ContinuousBody,
    "debounce": DebounceBody,
    "task": TaskBody,
}
_STATES: Mapping[Kind, tuple[str, ...]] = {
    "continuous": ("state",),
    "debounce": ("window", "batch"),
    "task": ("state",),
}
"""Where a body has states of the user's."""

_DECODER = json.JSONDecoder()
_UPCASTERS: Mapping[int, Callable[[dict[str, Json]], dict[str, Json]]] = {}


@value
class Newer:
    """A record of a newer `schema` or state version: only newer releases may touch it (S-6)."""

    row: Row
    what: str
    found: int
    known: int

    @property
    def revision(self) -> bytes:
        """What is stored beside it, as of a `Damaged`."""
        return self.row.revision


Loaded: TypeAlias = Record | Newer | Damaged


def _as_is(value: Any, _: Any = None) -> Any:
    return value


def make_converter() -> Converter:
    """Plain values are taken as they are: the checksum says that we wrote them."""
    converter = Converter(omit_if_default=True, forbid_extra_keys=True, detailed_validation=False)
    plain: tuple[Any, ...] = (int, str, bool, Literal)
    converter.register_structure_hook_factory(
        lambda type_: type_ in plain or get_origin(type_) in plain, lambda _: _as_is
    )
    for scalar in (int, str, bool):
        converter.register_structure_hook(scalar, _as_is)
    converter.register_structure_hook_factory(_is_optional, lambda type_: _read_optional(type_, converter))
    converter.register_unstructure_hook_factory(_is_optional, lambda type_: _write_optional(type_, converter))
    converter.register_unstructure_hook(Stored, lambda stored: [stored.version, stored.value])
    converter.register_structure_hook(Stored, lambda data, _: Stored(*data))
    converter.register_unstructure_hook(Lease, lambda lease: [*lease.token, lease.since, lease.until])
    converter.register_structure_hook(Lease, lambda data, _: Lease(Token(*data[:2]), *data[2:]))
    json_field = override(unstruct_hook=_as_is, struct_hook=_as_is)
    for event in (QueuedEvent, DeadEvent):
        write = make_dict_unstructure_fn(event, converter, True, event=json_field)
        converter.register_unstructure_hook(event, write)
        read = make_dict_structure_fn(event, converter, event=json_field)
        converter.register_structure_hook(event, read)
    return converter


def _is_optional(type_: Any) -> bool:
    return get_origin(type_) in (Union, UnionType) and NoneType in get_args(type_)


def _read_optional(type_: Any, converter: Converter) -> Callable[[Any, Any], Any]:
    """What is stored under an optional name is not null: defaults are left out."""
    inner = _inner(type_)
    hook = converter.get_structure_hook(inner)
    if hook is _as_is:
        return _as_is
    return lambda data, _: None if data is None else hook(data, inner)


def _write_optional(type_: Any, converter: Converter) -> Callable[[Any], Any]:
    """The same of what is to be stored; cattrs would call a function for each plain value."""
    hook: Callable[[Any], Any] = converter.get_unstructure_hook(_inner(type_))
    if hook is converter.get_unstructure_hook(int):
        return hook
    return lambda value: None if value is None else hook(value)


def _inner(type_: Any) -> Any:
    (inner,) = (member for member in get_args(type_) if member is not NoneType)
    return inner


_CONVERTER = make_converter()
_WRITE = {kind: _CONVERTER.get_unstructure_hook(body) for kind, body in _BODIES.items()}
_READ = {kind: _CONVERTER.get_structure_hook(body) for kind, body in _BODIES.items()}


def encode(key: Key, record: Record, wake: int | None) -> Row:
    """The row of a record; `wake` is its alarm."""
    rules = KINDS[key.kind]
    fields: dict[str, Any] = {
        "writers": record.writers,
        "created_at": record.created_at,
        "at": record.at,
        "seq": record.seq,
        "body": _WRITE[key.kind](record.body),
    }
    blob = _framed(to_json(fields), SCHEMA)
    return Row(key, record.revision.to_bytes(), wake, rules.status_of(record.body), blob)


def _framed(text: bytes, schema: int) -> bytes:
    head = _HEAD.pack(_MAGIC, schema, len(text))
    return head + _checksum(head, text) + text


def as_json(key: Key, record: Record) -> dict[str, Json]:
    """All of a record, for a journal."""
    row = encode(key, record, None)
    text: Json = _DECODER.decode(row.blob[_TEXT:].decode())
    return {"schema": SCHEMA, "revision": row.revision.hex(), "record": text}


def from_json(definition: AnyDefinition, key: Key, data: Mapping[str, Any]) -> Loaded:
    """The inverse of `as_json`, and what `load` does."""
    blob = _framed(to_json(data["record"]), data["schema"])
    return load(definition, Row(key, bytes.fromhex(data["revision"]), None, "", blob))


def _checksum(head: bytes, text: bytes) -> bytes:
    return _CHECKSUM.pack(zlib.crc32(text, zlib.crc32(head)))


def decode(row: Row) -> Loaded:
    """The record of a row; `Damaged` if its frame, checksum or text is wrong, `Newer` by its schema."""
    try:
        magic, schema, length = _HEAD.unpack_from(row.blob)
        head, checksum, text = row.blob[: _HEAD.size], row.blob[_HEAD.size : _TEXT], row.blob[_TEXT:]
        if magic != _MAGIC or len(text) != length or _checksum(head, text) != checksum:
            return _damaged(row, "frame or checksum is wrong")
        if schema > SCHEMA:
            return Newer(row, "schema", schema, SCHEMA)
        written = text.decode()
        data, end = _DECODER.raw_decode(written)  # `decode` would look for blanks, and we write none
        if end != len(written):
            return _damaged(row, "the text does not end where the record ends")
        for version in range(schema, SCHEMA):
            data = _UPCASTERS[version](data)
        return _record(row, data)
    except Exception as error:  # whatever is wrong with it, the bytes are left as they are
        return _damaged(row, f"{type(error).__name__}: {error}")


def _record(row: Row, data: dict[str, Any]) -> Loaded:
    revision = Revision.from_bytes(row.revision)
    writers = tuple(map(tuple, data["writers"]))
    if not writers or writers[0] != (revision.engine, revision.number):
        return _damaged(row, "the revision is not that of the last writer")
    body = _READ[row.key.kind](data["body"], _BODIES[row.key.kind])
    return Record(revision, writers, data["created_at"], data["at"], data["seq"], body)


def _damaged(row: Row, why: str) -> Damaged:
    return Damaged(row.key, row.revision, row.blob, why)


def load(definition: AnyDefinition, row: Row) -> Loaded:
    """`decode`, then the state made current by the definition's upcasters; `Newer` by its version."""
    record = decode(row)
    if not isinstance(record, Record):
        return record
    body = record.body
    changes: dict[str, Any] = {}
    for name in _STATES[row.key.kind]:
        holder = getattr(body, name)
        if holder is None:
            continue
        stored = holder if isinstance(holder, Stored) else holder.state
        if stored.version > definition.state_version:
            return Newer(row, "state version", stored.version, definition.state_version)
        if stored.version < definition.state_version:
            current = upcast(definition, stored)
            changes[name] = current if holder is stored else evolve(holder, state=current)
    return evolve(record, body=evolve(body, **changes)) if changes else record


def upcast(definition: AnyDefinition, stored: Stored) -> Stored:
    """The state under the current version, or as it is if a step is missing or fails, or if what they make
    does not fit: the next commit would write that in the place of what they were given (S-6)."""
    try:
        current = definition.upcast(stored)
        definition.decode(current)
    except RAISED:
        return stored
    return current
