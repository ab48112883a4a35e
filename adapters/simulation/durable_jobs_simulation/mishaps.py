"""What goes wrong outside of the library: hooks and fakes ask for it, by a rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from durable_jobs_core.durations import Duration, to_ms
from durable_jobs_core.errors import ValidationError
from durable_jobs_simulation.dice import Dice
from durable_jobs_simulation.faults import is_rate
from durable_jobs_simulation.tasks import SimulationError

if TYPE_CHECKING:
    from durable_jobs_simulation.world import World


class Mishaps:
    """Those of a run. Each name has a stream of its own."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._dice: dict[str, Dice] = {}
        self._until: dict[str, int] = {}

    def befalls(self, name: str, rate: float, lasts: Duration) -> bool:
        """Whether it goes wrong now: it begins, by its rate, or goes on since it did."""
        world = self._world
        ms = _checked(name, rate, lasts)
        if world.calm:
            return False
        if world.now < self._until.get(name, 0):
            return True
        dice = self._dice.setdefault(name, Dice(world.trace.seed).split(f"mishap/{name}"))
        if not dice.chance(rate):
            return False
        self._until[name] = world.now + ms
        world.fate.note(name)
        world.say("client", "mishap", name, *((f"for {ms} ms",) if ms else ()), fault=True)
        return True


def _checked(name: str, rate: float, lasts: Duration) -> int:
    """How long it lasts. What is wrong with it is no failure of the hook that asks."""
    if not is_rate(rate):
        raise SimulationError(f"mishap({name!r}): expected a rate from 0 to 1, got {rate!r}")
    try:
        return to_ms(lasts, f"mishap({name!r}, lasts)")
    except ValidationError as error:
        raise SimulationError(str(error)) from None
