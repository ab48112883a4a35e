"""The definition of a continuous job (SPEC §5)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import UnionType
from typing import TYPE_CHECKING, Unpack

from attrs import frozen

from durable_jobs_core.cron import Cron
from durable_jobs_core.definitions._base import Definition, JobOptions, S, check, common
from durable_jobs_core.schedule import Every, Misfire, Schedule, Skip

if TYPE_CHECKING:
    from durable_jobs_core.context import ContinuousContext


@frozen(kw_only=True, eq=False)
class Continuous(Definition[S]):
    """Recurring work per entity (SPEC §5). Make one with `make` or `job`."""

    kind = "continuous"

    schedule: Schedule
    start_immediately: bool = True
    misfire: Misfire = "coalesce"

    @classmethod
    def make(
        cls,
        *,
        state: type[S] | UnionType,
        schedule: Schedule,
        execute: Callable[[ContinuousContext[S]], Awaitable[None] | None],
        start_immediately: bool = True,
        misfire: Misfire = "coalesce",
        **options: Unpack[JobOptions],
    ) -> Continuous[S]:
        """A job whose `execute` runs by `schedule`, starting with `state`, the input of `start`.

        `misfire`: one run for all missed ticks, or `skip(grace)` (S-33). Raises `DefinitionError`.
        """
        options.setdefault("on_exhausted", "continue")
        check(isinstance(schedule, Every | Cron), "schedule", "every(...) or cron(...)", schedule)
        check(
            misfire == "coalesce" or isinstance(misfire, Skip),
            "misfire",
            '"coalesce" or skip(...)',
            misfire,
        )
        return cls(
            schedule=schedule,
            start_immediately=start_immediately,
            misfire=misfire,
            **common(state, {"execute": execute}, options, JobOptions),
        )

    @classmethod
    def job(
        cls,
        *,
        state: type[S] | UnionType,
        schedule: Schedule,
        start_immediately: bool = True,
        misfire: Misfire = "coalesce",
        **options: Unpack[JobOptions],
    ) -> Callable[[Callable[[ContinuousContext[S]], Awaitable[None] | None]], Continuous[S]]:
        """`make` as a decorator of `execute`."""

        def decorate(
            execute: Callable[[ContinuousContext[S]], Awaitable[None] | None],
        ) -> Continuous[S]:
            return cls.make(
                state=state,
                schedule=schedule,
                execute=execute,
                start_immediately=start_immediately,
                misfire=misfire,
                **options,
            )

        return decorate
