"""The facts the observer keeps: leases, requests, and what is known of each key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from attrs import define, field

from durable_jobs_core import events
from durable_jobs_core.engine import HookOutcome
from durable_jobs_core.record import Record, Stored, TaskBody
from durable_jobs_core.words import Key, Token


@define(eq=False)
class Attempt:
    """A lease that was committed. `until`: when it ends; `invoked`: its hook was called; `outcome`: how
    that ended."""

    token: Token
    life: int
    run: int
    hook: str
    attempt: int
    crashes: int
    until: int
    state: Stored | None
    invoked: bool = False
    outcome: HookOutcome | None = None
    stopping: bool = False

    @property
    def facts(self) -> tuple[int, int, str, int, int]:
        """Which attempt it is, by all that its hook is told of that."""
        return self.life, self.run, self.hook, self.attempt, self.crashes

    @property
    def over(self) -> bool:
        """Whether its hook has ended, or will not be called: its lease came too late."""
        return self.outcome is not None or not self.invoked


@define(eq=False)
class Call:
    """A request. `commits`: of its key when it was made; `life`: there then; `by`: when it
    must be answered, if that can be told; `excused`: its id may have come and gone."""

    key: Key
    request: events.Request
    engine: int
    commits: int
    life: int | None
    by: int | None
    excused: bool = False


@define(eq=False)
class History:
    """What is known of one key.

    `ended`: lives that are over; `granted`: leases whose hook was not called; `seq`, `told`: by life, of the
    last commit, and who told which; `seen`, `acked`, `rejected`, `asked`: event ids, how often they were
    committed, acknowledged, refused, requested; `written`: by engine, the count of its last commit;
    `terminators`: the engines that were asked to end it; `resumers`: those that may have resumed it, or may
    yet, and could not tell; `records`: all that were there, first none; `replaced`: the simulation has put
    something there; `rotten`: it cannot be read; `damaged`: for good.
    """

    key: Key
    record: Record | None = None
    commits: int = 0
    ended: set[int] = field(factory=set[int])
    tokens: dict[Token, Attempt] = field(factory=dict[Token, Attempt])
    latest: Attempt | None = None
    granted: list[Attempt] = field(factory=list[Attempt])
    seq: dict[int, int] = field(factory=dict[int, int])
    told: dict[int, dict[int, str]] = field(factory=dict[int, dict[int, str]])
    seen: Counter[str] = field(factory=Counter[str])
    acked: Counter[str] = field(factory=Counter[str])
    rejected: Counter[str] = field(factory=Counter[str])
    asked: Counter[str] = field(factory=Counter[str])
    written: dict[int, int] = field(factory=dict[int, int])
    terminators: set[int] = field(factory=set[int])
    resumers: set[int] = field(factory=set[int])
    records: list[Record | None] = field(factory=lambda: [None])
    replaced: bool = False
    rotten: bool = False
    damaged: bool = False

    @property
    def untold(self) -> bool:
        """Whether telemetry of what is committed is still to come."""
        return any(seq > len(self.told.get(life, ())) for life, seq in self.seq.items())


def in_order(told: dict[int, str]) -> bool:
    """Whether each node told its own telemetry in order. The answers to two nodes may cross on their way."""
    own: dict[str, list[int]] = {}
    for seq, node in told.items():
        own.setdefault(node, []).append(seq)
    return all(of_one == sorted(of_one) for of_one in own.values())


@define(frozen=True)
class Commit:
    """One commit: of an instance, by a node, from one record to another."""

    key: Key
    node: str
    before: Record | None
    after: Record | None


def with_dead_letters(histories: Iterable[History]) -> Counter[tuple[str, str]]:
    """How many instances have some, by their job, as far as they can be read."""
    bodies = (
        (one.key.job, one.record.body) for one in histories if one.record is not None and not one.rotten
    )
    return Counter(
        (job, "with dead letters") for job, body in bodies if isinstance(body, TaskBody) and body.dead
    )
