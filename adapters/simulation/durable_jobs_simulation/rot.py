"""What befalls stored rows: damage, and releases from the future."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from attrs import evolve

from durable_jobs_core.backend import Batch, Damaged, Row
from durable_jobs_core.codec import decode, encode
from durable_jobs_core.record import WRITERS_MAX, Record
from durable_jobs_core.words import Key, Revision
from durable_jobs_simulation import stages

if TYPE_CHECKING:
    from durable_jobs_simulation.world import World

_FUTURE = 99
NEWER_MS_MAX = 3_600_000


class Rot:
    """`newer`: the records that a newer release wrote, as an older one could read them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.newer: dict[Key, Record] = {}
        self._any = False

    def after_commit(self, row: Row) -> None:
        """A row was written: perhaps something happens to it in a while."""
        world, fate = self._world, self._world.fate
        if fate("damage"):
            dice = fate.dice("damage")
            span = dice.choose((100, 5_000))  # often while the hook runs that the commit was for
            world.after(dice.between(0, span), lambda: self._damage(row.key))
        elif fate("newer"):
            dice = fate.dice("newer")
            world.after(dice.between(0, 5_000), lambda: self._replace(row.key, dice.bits()))

    def _damage(self, key: Key) -> None:
        world = self._world
        row = world.store.rows.get(key)
        if not isinstance(row, Row) or key in self.newer or world.calm:
            return
        raw = row.blob[:-1] + bytes((row.blob[-1] ^ 1,))
        self._any = True
        world.say("world", "damage", key=key, fault=True)
        world.observer.replaced(key, None, lost=True)
        entry = world.store.entries.get(key)
        world.store.replace(Damaged(key, row.revision, raw, "checksum"), entry)

    def _replace(self, key: Key, engine: int) -> None:
        """A newer release writes the record: nothing but its format changes."""
        world = self._world
        row = world.store.rows.get(key)
        record = decode(row) if isinstance(row, Row) else None
        if not isinstance(row, Row) or not isinstance(record, Record) or key in self.newer or world.calm:
            return
        record = _written(record, engine)
        self._any = True
        self.newer[key] = record
        encoded = encode(key, record, row.wake)
        world.say("world", "newer", key=key, fault=True)
        world.observer.replaced(key, None)
        world.store.replace(evolve(encoded, blob=_of_the_future(encoded.blob)), row.wake)
        world.after(world.fate.dice("newer").between(1, NEWER_MS_MAX), lambda: self._restore(key))

    def _restore(self, key: Key) -> None:
        """The same release writes it in the old format again."""
        record = self.newer.pop(key, None)
        world = self._world
        row = world.store.rows.get(key)
        if record is None or not isinstance(row, Row):
            return
        record = _written(record, record.revision.engine)
        world.say("world", "older", key=key)
        world.observer.replaced(key, record)
        world.store.replace(encode(key, record, row.wake), row.wake)

    def within(self, batch: Batch) -> dict[Key, str]:
        """Which of the rows that an exchange names are rotten, and by which fault."""
        if not self._any:
            return {}
        keys = [write.key for write in batch.writes] + list(batch.loads)
        return {key: fault for key in keys if (fault := self._fault(key)) is not None}

    def met(self, batch: Batch, rotten: dict[Key, str], claimed: tuple[Row | Damaged, ...]) -> None:
        """An exchange has met them, and rotten ones among those it claimed."""
        if not self._any:
            return
        world = self._world
        for (stage, kind), key in stages.of_instances(batch, world.observer.stored):
            if key in rotten:
                world.fate.struck(rotten[key], [(stage, kind)])
        for row in claimed:
            fault = self._fault(row.key)
            if fault is not None:
                world.fate.struck(fault, [("claim", row.key.kind)])

    def _fault(self, key: Key) -> str | None:
        if key in self.newer:
            return "newer"
        return "damage" if isinstance(self._world.store.rows.get(key), Damaged) else None

    def heal(self) -> None:
        """All records can be read again, but for damaged ones."""
        for key in tuple(self.newer):
            self._restore(key)


def _of_the_future(blob: bytes) -> bytes:
    """The same text in a sound frame of a schema that nobody knows yet: magic, schema, length, CRC-32."""
    head, text = blob[:2] + _FUTURE.to_bytes(2, "big") + blob[4:8], blob[12:]
    return head + zlib.crc32(text, zlib.crc32(head)).to_bytes(4, "big") + text


def _written(record: Record, engine: int) -> Record:
    number = record.revision.number + 1
    others = (entry for entry in record.writers if entry[0] != engine)
    return evolve(
        record,
        revision=Revision(record.revision.life, number, engine),
        writers=((engine, number), *others)[:WRITERS_MAX],
    )
