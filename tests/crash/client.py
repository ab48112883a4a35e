"""What the client does: for each instance one loop of requests, each logged before and after.

The requests of an instance follow one another, but for bursts of events, which are asked together. What a
killed round has left unresolved is asked again, with the same event id, before anything else.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import attrs
from crash.jobs import RULES, Note, Ticks
from crash.log import Line, Log, unresolved
from support.drivers import Driver

from durable_jobs_core import DurableJobsError, Key, OutcomeUnknownError, StorageError
from durable_jobs_core.backend import Backend, Query, Row

KEYS = (
    "continuous:ticker:a",
    "continuous:ticker:b",
    "continuous:slow:a",
    "continuous:slow:b",
    "debounce:collect:a",
    "debounce:collect:b",
    "debounce:digest:a",
    "debounce:full:a",
    "task:ledger:a",
    "task:ledger:b",
    "task:mender:a",
    "task:mender:b",
    "task:still:a",
)
AGAIN = frozenset({"start", "terminate", "clear", "discard", "add", "send"})
"""What is asked again until its outcome is known; but see `_forgets`."""

PROBED = "still", "full"
"""Jobs whose instances are sent what is refused, and little else; each time, a job is listed twice."""

Weights = dict[str, float]
_OF_KIND: dict[str, Weights] = {
    "continuous": {
        "start": 4,
        "trigger": 5,
        "trigger and wait": 3,
        "pause": 1,
        "resume": 3,
        "terminate": 0.4,
    },
    "debounce": {"events": 10, "again": 2, "flush": 2, "flush and wait": 2, "clear": 0.7, "terminate": 0.4},
    "task": {"events": 10, "again": 2, "trigger": 2, "redrive": 2, "discard": 0.4, "terminate": 0.4},
}
_TASK_EVENTS: Weights = {"note": 4, "plan": 3, "fail": 3}


def named(key: str) -> Key:
    """The key that is printed as `key`."""
    kind, job, id = key.split(":", 2)
    return Key(kind, job, id)  # type: ignore[arg-type]


class Asker:
    """Performs single requests and logs them."""

    def __init__(self, runtime: Any, log: Log) -> None:
        self._runtime = runtime
        self.log = log

    async def ask(self, op: str, key: str, event: str | None = None, **more: Any) -> str:
        """Ask once, or until the outcome is known if that matters; what came of it."""
        while True:
            outcome = await self._ask_once(op, key, event, **more)
            if outcome != "unknown" or op not in AGAIN or (event is not None and _forgets(key)):
                return outcome

    async def _ask_once(self, op: str, key: str, event: str | None, **more: Any) -> str:
        name = self.log.name()
        self.log.write("asked", n=name, op=op, key=key, event=event, **more)
        try:
            result = await self._call(op, named(key), event, **more)
        except OutcomeUnknownError as error:
            self.log.write("unknown", n=name, error=str(error))
            return "unknown"
        except DurableJobsError as error:
            self.log.write("refused", n=name, error=type(error).__name__, changed=error.changed)
            return "refused"
        plain = {k: v for k, v in attrs.asdict(result, recurse=False).items() if _is_plain(v)}
        self.log.write("answered", n=name, result=plain)
        return "answered"

    def _call(self, op: str, key: Key, event: str | None, **more: Any) -> Awaitable[Any]:
        client: Any = getattr(self._runtime.client, key.kind)(key.job)
        if op == "start":
            return client.start(key.id, Ticks())
        if op == "add":
            return client.add(key.id, event, event_id=event)
        if op == "send":
            return client.send(key.id, Note(event or "", more.get("do", "note")), event_id=event)
        wait = {"wait": more.get("wait")} if op in ("trigger", "flush") else {}
        result: Awaitable[Any] = getattr(client, op)(key.id, **wait)
        return result


def _forgets(key: str) -> bool:
    """Whether hooks end lives, with the ids of their events: one asked again could be taken twice."""
    return RULES[named(key).job].ends


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, bool | int | str)


class Client:
    """The loops of one round."""

    def __init__(
        self,
        runtime: Any,
        backend: Backend,
        driver: Driver,
        log: Log,
        lines: list[Line],
        seed: str,
        keys: Sequence[str] = KEYS,
    ) -> None:
        self.asker = Asker(runtime, log)
        self._runtime = runtime
        self._backend = backend
        self._driver = driver
        self._log = log
        self._seed = seed
        self._keys = keys
        self._left = [line for line in unresolved(lines) if line["op"] in AGAIN]

    async def live(self) -> None:
        """Send requests to every instance, until killed."""
        await self._driver.together(*(partial(self._live, key) for key in self._keys))

    async def resolve(self) -> None:
        """Ask again what is unresolved, all instances together."""
        await self._driver.together(*(partial(self._resolve, key) for key in self._keys))

    async def _live(self, key: str) -> None:
        chance = random.Random(f"{self._seed} {key}")
        job = named(key).job
        await self._resolve(key)
        accepted: list[tuple[str, dict[str, Any]]] = []
        while True:
            if job in PROBED:
                await self._probe(key)
            else:
                await self._something(key, chance, accepted)
            await self._driver.sleep(chance.uniform(0, 0.02))

    async def _resolve(self, key: str) -> None:
        if _forgets(key):
            return
        for line in self._left:
            if line["key"] == key:
                more = {name: line[name] for name in ("do",) if name in line}
                await self.asker.ask(line["op"], key, line["event"], **more)

    async def _something(self, key: str, chance: random.Random, accepted: list[Any]) -> None:
        kind = named(key).kind
        weights = _OF_KIND[kind]
        (choice,) = chance.choices([*weights], [*weights.values()])
        op, _, wait = choice.partition(" and ")
        if choice == "events":
            await self._burst(key, chance, accepted)
        elif choice == "again":
            if accepted and not _forgets(key):
                event, more = chance.choice(accepted)
                await self.asker.ask(_taking(kind), key, event, **more)
        else:
            await self.asker.ask(op, key, **({"wait": "150 ms"} if wait else {}))
            if op == "terminate":
                accepted.clear()

    async def _burst(self, key: str, chance: random.Random, accepted: list[Any]) -> None:
        kind, job, _ = named(key)

        async def one() -> None:
            event, more = self._log.name(), {}
            if kind == "task":
                kinds = {**_TASK_EVENTS, **({"end": 1} if RULES[job].ends else {})}
                more = {"do": chance.choices([*kinds], [*kinds.values()])[0]}
            if await self.asker.ask(_taking(kind), key, event, **more) == "answered":
                accepted.append((event, more))

        await self._driver.together(*[one] * chance.choice((1, 1, 2, 4)))

    async def _probe(self, key: str) -> None:
        """Requests that are refused, to an instance nothing else happens to: its bytes stay (I-9)."""
        job = named(key).job
        first = f"first of {self._log.round}"
        if job == "still":
            await self.asker.ask("send", key, first, do="note")
            await self._refused(key, lambda: self.asker.ask("send", key, first, do="note"))
            await self._refused(key, lambda: self.asker.ask("send", key, self._log.name(), do="fail"))
            return
        await self.asker.ask("add", key, first)
        while await self.asker.ask("add", key, self._log.name()) == "answered":
            pass  # until the window is full
        await self._refused(key, lambda: self.asker.ask("add", key, self._log.name()))
        await self._refused(key, lambda: self.asker.ask("add", key, first))

    async def _refused(self, key: str, request: Callable[[], Awaitable[str]]) -> None:
        try:
            before = await self._runtime.in_thread(digest, self._backend, key)
            if await request() == "refused":
                after = await self._runtime.in_thread(digest, self._backend, key)
                self._log.write("probed", key=key, before=before, after=after)
        except StorageError:
            pass  # the store cannot be read just now


def _taking(kind: str) -> str:
    return "add" if kind == "debounce" else "send"


def digest(backend: Backend, key: str) -> str:
    """A digest of what is stored for `key`."""
    kind, job, id = named(key)
    page = backend.scan(Query(kind=kind, job=job), None, 100)
    found = [row for row in page.rows if isinstance(row, Row) and row.key.id == id]
    raw = b"".join(row.revision + row.blob for row in found)
    return hashlib.blake2b(raw, digest_size=8).hexdigest()
