"""Making a store, and finding one that was made.

Its format, shards and identity are in one key, and each shard names the identity (see `_names`). A part of
that which is lost is said, and not made anew: that would shut out all that have the store open.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from typing import Any

from durable_jobs_redis import _durability
from durable_jobs_redis._errors import CallRefusedError, NewerStoreError, RedisStoreError
from durable_jobs_redis._names import Names
from durable_jobs_redis._url import SHARDS_MAX, SHARDS_OF_A_CLUSTER, Location
from durable_jobs_redis._wire import Command, Line

FORMAT = 1
_log = logging.getLogger("durable_jobs")
_BEGIN = """
if redis.call('EXISTS', KEYS[1]) == 0 then
  return redis.pcall('HSET', KEYS[1], 'format', ARGV[1], 'shards', ARGV[2], 'id', ARGV[3])
end
"""


def make(line: Line, location: Location) -> Names:
    """Make the store, if it is not there; it keeps the number of shards it was made with.

    Raises `RedisStoreError` for one that cannot be used, or is not whole.
    """
    try:
        return _make(line, location)
    except CallRefusedError as error:
        if error.code != "MOVED" or location.form == "cluster":
            raise
        cause = f"it is a node of a Cluster, whose URL begins with {location.kind}+cluster:// ({error.cause})"
        raise RedisStoreError(line.server, cause) from error


def _make(line: Line, location: Location) -> Names:
    for wire in line.wires():
        why = _durability.check(_durability.read(wire), location)
        if why is not None:
            raise RedisStoreError(wire.server, why)
    names = Names(location.namespace, location.shards or _shards(location), apart=location.form == "cluster")
    fields: Command = ("HMGET", names.meta, "format", "shards", "id", "made")
    (found,) = line.call(fields)
    new = secrets.token_hex(8)
    if found == [None] * 4:
        if all(mark is None for mark in _marks(line, names)):
            line.call(("EVAL", _BEGIN, 1, names.meta, FORMAT, names.shards, new))
        (found,) = line.call(fields)  # another process may have made it meanwhile
    if found == [None] * 4:
        raise RedisStoreError(line.server, f"{names.meta} has been lost, and its shards have not")
    version, shards, identity, made = found
    try:
        if int(version) > FORMAT:
            raise NewerStoreError(line.server, int(version), FORMAT)
        if not 0 < int(shards) <= SHARDS_MAX:
            raise ValueError(shards)
        names = Names(location.namespace, int(shards), bytes(identity), apart=location.form == "cluster")
    except (TypeError, ValueError) as error:
        raise RedisStoreError(line.server, f"{names.meta} is not of this library: {found!r}") from error
    if location.shards not in (None, names.shards):
        cause = (
            f"the store was made with {names.shards} shards, and keeps them; the URL says {location.shards}"
        )
        raise RedisStoreError(line.server, cause)
    if made is None:
        _finish(line, names)
    if names.identity == new.encode():
        text = "%s: a new store was made: database %d had none of the namespace %s"
        _log.info(text, line.server, location.database, location.namespace)
    return names


def loss(line: Line, names: Names, database: int) -> str | None:
    """What to tell of an open store that nobody else can open any more: how to put back what it lacks."""
    (told,) = line.ask([("HMGET", names.meta, "id")])
    if told.answer != [None]:
        return None
    fields = f"format {FORMAT} shards {names.shards} id {names.identity.decode()} made 1"
    return (
        f"no process can open the store, for {names.meta} is lost: put it back, in database {database},"
        f" by HSET {names.meta} {fields}"
    )


def _shards(location: Location) -> int:
    return SHARDS_OF_A_CLUSTER if location.form == "cluster" else 1


def _finish(line: Line, names: Names) -> None:
    """Mark the shards. Several processes may do so at once, and each as often as it likes."""
    _answers(line, [("SET", key, names.identity + b" 0", "NX") for key in _clocks(names)])
    if not all((mark or b"").startswith(names.identity + b" ") for mark in _marks(line, names)):
        raise RedisStoreError(
            line.server, "its shards are those of another store of this name, which is lost"
        )
    line.call(("HSET", names.meta, "made", 1))


def _marks(line: Line, names: Names) -> list[bytes | None]:
    """What each shard says it is of."""
    return _answers(line, [("GET", key) for key in _clocks(names)])


def _answers(line: Line, commands: Sequence[Command]) -> list[Any]:
    """The answers to commands that may go to several servers; raises the first error."""
    answers = [told.answer for told in line.ask(commands)]
    for answer in answers:
        if isinstance(answer, RedisStoreError):
            raise answer
    return answers


def _clocks(names: Names) -> list[str]:
    return [key for call in range(names.calls) for key in names.clocks(call)]
