"""The definition of a continuous job (SPEC §5)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Unpack

from attrs import frozen

from durable_jobs_core.checks import check
from durable_jobs_core.cron import Cron
from durable_jobs_core.definitions._base import Definition, JobOptions, OnExhausted, S, State, common, hook
from durable_jobs_core.schedule import Every, Misfire, Schedule, Skip

if TYPE_CHECKING:
    from typing_extensions import TypeForm

    from durable_jobs_core.context import ContinuousContext


class ContinuousOptions(JobOptions, total=False):
    """The options of a continuous job, as `Continuous` explains them."""

    on_exhausted: OnExhausted
    start_immediately: bool
    misfire: Misfire


@frozen(kw_only=True, eq=False, repr=False)
class Continuous(Definition[S]):
    """Recurring work per entity. Make one with `make` or `job`; the rules are in the specification, §5.

    Options of `make` and `job`:

    `start_immediately`: whether the first run is due at once, the default, or by the schedule (S-31).
    `misfire`: what becomes of ticks that were missed: `"coalesce"`, the default, makes one run of them all;
    so does `skip(grace)`, but only if the latest is at most `grace` old (S-33).

    Options that every kind of job has:

    `retry`: a `Retry`, default 7 attempts in some two minutes; `None` for one (S-23).
    `on_exhausted`: what happens when a run gives up, `"continue"` (default), `"park"` or
    `"terminate"` (S-24).
    `timeout`: of one attempt of `execute`, default none.
    `max_crashes`: the run gives up when so many attempts were lost with their process, default 5 (S-14).
    `concurrency`: how many attempts of this job one process makes at a time, default no limit (S-69).
    `state_version`, `upcasters`: for a changed state class, `state_version=2, upcasters={1: f}`, where
    `f` makes JSON of version 2 from JSON of version 1 (S-6).
    `codec`: how values become JSON, default a `StrictCodec`.
    """

    kind = "continuous"

    schedule: Schedule
    start_immediately: bool
    misfire: Misfire

    @classmethod
    def make(
        cls,
        *,
        state: TypeForm[State],
        schedule: Schedule,
        execute: Callable[[ContinuousContext[State]], Awaitable[None] | None],
        **options: Unpack[ContinuousOptions],
    ) -> Continuous[State]:
        """A job whose `execute` runs by `schedule`, starting with `state`, the input of `start`.

        `state`: its class; `schedule`: `every("30 minutes")` or `cron("0 4 * * *", tz="Europe/Paris")`;
        `execute`: `async def execute(ctx)`, or a plain `def`, which runs in a thread; it calls
        `ctx.set_state`. `help(Continuous)` lists the options. Raises `DefinitionError`, which says what was
        expected.
        """
        options.setdefault("on_exhausted", "continue")
        check(isinstance(schedule, Every | Cron), "schedule", "every(...) or cron(...)", schedule)
        misfire = options.get("misfire", "coalesce")
        known = misfire == "coalesce" or isinstance(misfire, Skip)
        check(known, "misfire", '"coalesce" or skip(...)', misfire)
        start_immediately = options.get("start_immediately", True)
        check(isinstance(start_immediately, bool), "start_immediately", "a bool", start_immediately)
        return Continuous(
            schedule=schedule,
            start_immediately=start_immediately,
            misfire=misfire,
            **common(state, {"execute": hook("execute", execute, "ctx")}, options, ContinuousOptions),
        )

    @classmethod
    def job(
        cls, *, state: TypeForm[State], schedule: Schedule, **options: Unpack[ContinuousOptions]
    ) -> Callable[[Callable[[ContinuousContext[State]], Awaitable[None] | None]], Continuous[State]]:
        """`make` as a decorator of `execute`: the arguments are the same, without it."""
        return lambda execute: cls.make(state=state, schedule=schedule, execute=execute, **options)
