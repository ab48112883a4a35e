"""The definition of a continuous job (SPEC §5)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol, Unpack, overload

from attrs import frozen

from durable_jobs_core.checks import check
from durable_jobs_core.cron import Cron
from durable_jobs_core.definitions._base import Definition, JobOptions, NoClass, S, State, common, hook
from durable_jobs_core.schedule import Every, Misfire, Schedule, Skip

if TYPE_CHECKING:
    from durable_jobs_core.context import ContinuousContext


class ContinuousOptions(JobOptions, total=False):
    """The options of a continuous job.

    `start_immediately`: whether the first run is due at once, default, or by the schedule (S-31);
    `misfire`: one run for all missed ticks, `"coalesce"`, or `skip(grace)` (S-33).
    """

    start_immediately: bool
    misfire: Misfire


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
        state: type[State] | NoClass,
        schedule: Schedule,
        execute: Callable[[ContinuousContext[State]], Awaitable[None] | None],
        **options: Unpack[ContinuousOptions],
    ) -> Continuous[State]:
        """A job whose `execute` runs by `schedule`, starting with `state`, the input of `start`.

        Raises `DefinitionError`.
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

    @overload
    @classmethod
    def job(
        cls, *, state: type[State], schedule: Schedule, **options: Unpack[ContinuousOptions]
    ) -> Callable[[Callable[[ContinuousContext[State]], Awaitable[None] | None]], Continuous[State]]: ...

    @overload
    @classmethod
    def job(
        cls, *, state: NoClass, schedule: Schedule, **options: Unpack[ContinuousOptions]
    ) -> ContinuousDecorator: ...

    @classmethod
    def job(cls, **arguments: Any) -> Any:
        """`make` as a decorator of `execute`."""
        return lambda execute: cls.make(execute=execute, **arguments)


class ContinuousDecorator(Protocol):
    """What `job` gives where the state is a union: `execute` says of what."""

    def __call__(
        self, execute: Callable[[ContinuousContext[State]], Awaitable[None] | None], /
    ) -> Continuous[State]:
        """The job that runs `execute`."""
        ...
