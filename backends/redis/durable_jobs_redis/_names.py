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

from durable_jobs_core.words import Job, Key, Kind


class Place(NamedTuple):
    """Where an instance is kept: which call of the script reaches it, the number of its shard among the keys
    of that call, the name of its job there, its id."""

    call: int
    number: int
    job: bytes
    id: bytes


class Names:
    """The names of one store.

    `identity`: what its shards have to say they are of; `apart`: in a Cluster, where a call reaches one shard
    and not all of them.
    """

    def __init__(self, space: str, shards: int, identity: bytes = b"", *, apart: bool = False) -> None:
        self.identity = identity
        self.shards = shards
        self.calls = shards if apart else 1
        self._apart = apart
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

    def clocks(self, call: int) -> list[str]:
        """The keys that stand for the shards of a call, in order."""
        return [f"{self.tag(shard)}clock" for shard in ([call] if self._apart else range(self.shards))]

    def call_of(self, tag: bytes) -> int:
        """The call that reaches the shard whose names begin with this."""
        return int(tag[:-2].rpartition(b":")[2]) if self._apart else 0

    def place(self, key: Key) -> Place | None:
        """Where an instance is kept; `None` for a key that is no text, which no server can keep."""
        try:
            job, id = job_name(key.kind, key.job), key.id.encode()
        except UnicodeEncodeError:
            return None
        shard = zlib.crc32(job + b":" + id) % self.shards
        return Place(shard, 1, job, id) if self._apart else Place(0, shard + 1, job, id)


def job_name(kind: str, job: str) -> bytes:
    """The name of a job among those of a shard."""
    return f"{quote(kind, safe='')}:{quote(job, safe='')}".encode()


def job_of(name: bytes) -> Job:
    """The job that has this name."""
    kind, _, job = name.decode().partition(":")
    return cast(Kind, unquote(kind)), unquote(job)
