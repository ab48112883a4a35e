"""Names of keys in the server. No two instances, jobs or namespaces can have one in common (S-63).

    {space}:meta                     how the store was made
    {space:3}:clock                  the identity of the store, and what its clock never goes back behind
    {space:3}:jobs                   set: the jobs that have instances
    {space:3}:ids:task:mail          sorted set: the ids of a job, for listing
    {space:3}:due:task:mail          sorted set: its index, a score an id
    {space:3}:row:task:mail:user-7   hash: one instance

A namespace has neither colons nor braces, and those of a job's name are written `%3A`; the id comes last
and is taken as it is. In a Cluster the text in braces alone says where a key is kept, so all of a shard
is kept together.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple, cast
from urllib.parse import quote, unquote

from durable_jobs_core.words import Key, Kind


class Place(NamedTuple):
    """Where an instance is kept: the shard, the name of its job there, its id."""

    shard: int
    job: bytes
    id: bytes


class Names:
    """The names of one store."""

    def __init__(self, space: str, shards: int) -> None:
        self.shards = shards
        self._space = space

    @property
    def meta(self) -> str:
        """How the store was made."""
        return f"{{{self._space}}}:meta"

    def channel(self, database: int) -> str:
        """Where due work is told of; channels are common to all databases of a server."""
        return f"{{{self._space}}}:hints:{database}"

    def tag(self, shard: int) -> str:
        """What all names of a shard begin with."""
        return f"{{{self._space}:{shard}}}:"

    def clocks(self) -> list[str]:
        """The keys that stand for the shards, in order."""
        return [f"{self.tag(shard)}clock" for shard in range(self.shards)]

    def place(self, key: Key) -> Place:
        """Where an instance is kept. Raises `UnicodeEncodeError` for what no server can keep."""
        job, id = job_name(key.kind, key.job), key.id.encode()
        return Place(zlib.crc32(job + b":" + id) % self.shards, job, id)


def job_name(kind: str, job: str) -> bytes:
    """The name of a job among those of a shard."""
    return f"{quote(kind, safe='')}:{quote(job, safe='')}".encode()


def job_of(name: bytes) -> tuple[Kind, str]:
    """The job that has this name."""
    kind, _, job = name.decode().partition(":")
    return cast(Kind, unquote(kind)), unquote(job)
