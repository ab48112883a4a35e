"""Which faults a run has, and how often. The table of them, with what each does:

    crash             a node dies between two needs, and comes back later under another identity
    stall             a node does nothing for a while, as if its machine slept; then it goes on
    redeploy          a node is shut down in two phases, and comes back
    old_release       a node that starts runs an older release, if there is one
    drift             a node's clock runs fast or slow, by up to 5 %
    outage            the store answers nobody for up to 90 s
    partition         it does not answer one node for as long
    lost_request      an exchange never arrives, or arrives late, after its node gave up on it
    lost_answer       an exchange is done, wholly or in part, and its answer never comes
    unknown           the backend cannot tell the outcome of one write, which lands, now or later, or not
    refused_transient the backend refuses a write for now
    refused_permanent the backend refuses a write
    slow              an exchange takes up to 15 s
    nudge_lost        a hint that work is due is lost
    nudge_late        it comes late, or twice
    impatient         a caller gives its request 1 ms, 500 ms or 3 s
    abandoned         a caller stops waiting for its answer
    hook_failure      a hook raises, before or after it has done its work
    hook_exit         a hook raises `SystemExit`
    hook_slow         a hook takes up to 40 s longer
    hook_hang         a hook takes 2 minutes longer
    hook_deaf         a hook takes up to a minute to end when it is cancelled
    damage            a stored row is overwritten with something unreadable
    newer             a newer release writes a row, and an hour later an older one can read it again
    full              the store refuses every write for up to 30 s; it goes on reading
    woken             an engine is woken by nothing
    poison            the leased hooks of an instance kill their node, for up to a minute
    hook_unspeakable  a hook raises something that raises when it is told

Rates are per opportunity: a need for `crash`, an input of an engine for `stall` and `redeploy`, an
exchange for `slow` and `outage`, a hook for `hook_failure`, a commit for `damage`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from attrs import asdict, evolve, fields_dict, frozen

from durable_jobs_core.checks import check
from durable_jobs_core.engine import Limits
from durable_jobs_core.words import Kind
from durable_jobs_simulation.dice import Dice


def is_rate(rate: object) -> bool:
    """Whether it is how often something happens."""
    return isinstance(rate, int | float) and 0 <= rate <= 1


@frozen(kw_only=True)
class Faults:
    """The rate of each fault, from 0 to 1. `Faults()` has none; see the table of the module."""

    crash: float = 0.0
    stall: float = 0.0
    redeploy: float = 0.0
    old_release: float = 0.0
    drift: float = 0.0
    outage: float = 0.0
    partition: float = 0.0
    lost_request: float = 0.0
    lost_answer: float = 0.0
    unknown: float = 0.0
    refused_transient: float = 0.0
    refused_permanent: float = 0.0
    slow: float = 0.0
    nudge_lost: float = 0.0
    nudge_late: float = 0.0
    impatient: float = 0.0
    abandoned: float = 0.0
    hook_failure: float = 0.0
    hook_exit: float = 0.0
    hook_slow: float = 0.0
    hook_hang: float = 0.0
    hook_deaf: float = 0.0
    damage: float = 0.0
    newer: float = 0.0
    full: float = 0.0
    woken: float = 0.0
    poison: float = 0.0
    hook_unspeakable: float = 0.0

    def __attrs_post_init__(self) -> None:
        for name, rate in asdict(self).items():
            check(is_rate(rate), f"Faults({name})", "a number from 0 to 1", rate)

    def rates(self) -> dict[str, float]:
        """The faults that are on, by name."""
        return {name: rate for name, rate in asdict(self).items() if rate > 0}

    def without(self, *names: str) -> Faults:
        """The same, with some faults off."""
        return evolve(self, **dict.fromkeys(names, 0.0))

    def __str__(self) -> str:
        return ", ".join(f"{name} {rate:g}" for name, rate in self.rates().items()) or "none"


ALL = tuple(fields_dict(Faults))

HIGHEST = {
    "crash": 0.02,
    "stall": 0.02,
    "redeploy": 0.01,
    "old_release": 1.0,
    "drift": 1.0,
    "outage": 0.002,
    "partition": 0.005,
    "damage": 0.01,
    "newer": 0.005,
    "full": 0.005,
    "poison": 0.01,
    "hook_hang": 0.05,
    "slow": 0.1,
    "refused_permanent": 0.05,
}
"""A rate at which a run still gets something done."""


def swarm(dice: Dice) -> Faults:
    """A random subset of the faults, each with a random rate: a run with all of them finds less."""
    share = dice.between(10, 60) / 100
    rates: dict[str, float] = {}
    for name in ALL:
        on, strength = dice.chance(share), dice.between(5, 100) / 100
        if on:
            rates[name] = round(strength * HIGHEST.get(name, 0.25), 6)
    return Faults(**rates)


def draw_limits(dice: Dice) -> Limits:
    """Limits that make trouble likely: short leases, few slots, no cache."""
    return Limits(
        concurrency=dice.choose((1, 2, 5, 100)),
        lease=dice.choose((3_000, 10_000, 30_000)),
        hold=dice.choose((500, 5_000)),
        poll=dice.choose((500, 1_000, 5_000)),
        exchange=dice.choose((2_000, 10_000)),
        cache_bytes=dice.choose((0, 4_000, 8 * 1024 * 1024)),
    )


class Fate:
    """Says whether a fault happens now, and is told where it struck. Each fault has a stream of its own:
    taking one away does not change when the others strike, as far as the run goes the same way."""

    def __init__(self, faults: Faults, dice: Dice) -> None:
        self._rates = faults.rates()
        self._dice = {name: dice.split(name) for name in ALL}
        self.hits: dict[str, int] = dict.fromkeys(self._rates, 0)
        self.cells: Counter[tuple[str, str, Kind]] = Counter()

    def __call__(self, fault: str) -> bool:
        rate = self._rates.get(fault)
        if rate is None or not self._dice[fault].chance(rate):
            return False
        self.note(fault)
        return True

    def note(self, fault: str) -> None:
        """One was drawn; or something goes wrong that a user has asked for."""
        self.hits[fault] = self.hits.get(fault, 0) + 1

    @property
    def has_struck(self) -> bool:
        """Whether anything has gone wrong so far: else no request is refused, and no attempt crashes."""
        return any(self.hits.values())

    def struck(self, fault: str, places: Iterable[tuple[str, Kind]]) -> None:
        """Note where it struck: at which stages of which kinds. What is calm is not struck."""
        if not self._rates:
            return
        for stage, kind in places:
            self.cells[fault, stage, kind] += 1

    def dice(self, fault: str) -> Dice:
        """The stream for the details of a fault."""
        return self._dice[fault]

    def calm(self) -> None:
        """From here on there are no faults."""
        self._rates = {}
