"""Continuous: each run presents the token that the run before stored, to a server that forgives nothing.

A token may be presented again with the same idempotency key, and is answered alike. Presented with
another key, it is a stolen one. That holds exactly if runs are serial, keys are stable over retries and
crashes, and a run's state is stored once it has succeeded, or not at all.
"""

from __future__ import annotations

from collections import Counter
from typing import TypeAlias

from durable_jobs_core import Backoff, Continuous, ContinuousContext, Retry, cron, every
from durable_jobs_core.client import ContinuousClient
from durable_jobs_core.errors import DurableJobsError, InstanceNotFoundError, InvalidStateError
from durable_jobs_core.record import ContinuousBody
from durable_jobs_simulation.case import Case
from durable_jobs_simulation.history import Commit
from durable_jobs_simulation.scenarios.releases import releases
from durable_jobs_simulation.simulation import Simulation, current
from durable_jobs_simulation.tasks import sleep

Job: TypeAlias = "Continuous[str]"


class Server:
    """Rotates tokens. A token is `family.number`, and a family belongs to one life of an instance."""

    def __init__(self) -> None:
        self.issued = 0
        self.used: dict[str, tuple[str, str]] = {}

    def family(self) -> str:
        """The first token of a new family."""
        self.issued += 1
        return f"{self.issued}.0"

    def rotate(self, token: str, key: str | None, *, forgiving: bool = False) -> str:
        """The token that follows; a stolen one ends the simulation."""
        assert key is not None, "a leased hook has an idempotency key"
        family, _, number = token.partition(".")
        before, follows = self.used.setdefault(token, (key, f"{family}.{int(number) + 1}"))
        if before != key and not forgiving:
            current().fail(f"S-18: token {token} was used with {before} and came again with {key}")
        return follows


def tokens() -> Case:
    """Starts, triggers, pauses, resumes and terminates a few instances of four jobs."""
    server = Server()

    async def refresh(ctx: ContinuousContext[str]) -> None:
        dice = current().dice
        await sleep(f"{dice.between(1, 400)} ms")
        drops_runs = ctx.job_name in ("nightly", "fragile")
        token = server.rotate(ctx.state, ctx.idempotency_key, forgiving=drops_runs)
        if dice.chance(0.2):
            await sleep(f"{dice.between(1, 4_000)} ms")
        if dice.chance(0.03):
            ctx.terminate("enough")
        if dice.chance(0.1):
            raise ValueError("the answer was lost")
        ctx.set_state(token)

    def refresh_in_thread(ctx: ContinuousContext[str]) -> None:
        token = server.rotate(ctx.state, ctx.idempotency_key)
        if current().dice.chance(0.1):
            raise ValueError("the answer was lost")
        ctx.set_state(token)

    retry = Retry(max_attempts=3, delay=Backoff.exponential("500 ms"))
    definitions: dict[str, Job] = {
        "often": Continuous.make(
            state=str, schedule=every("3 seconds"), execute=refresh, retry=retry, on_exhausted="park"
        ),
        "steady": Continuous.make(
            state=str,
            schedule=every("5 seconds", align="start"),
            execute=refresh_in_thread,
            retry=retry,
            on_exhausted="park",
            timeout="2 seconds",
        ),
        "nightly": Continuous.make(
            state=str,
            schedule=cron("*/10 * * * * *"),
            execute=refresh,
            retry=None,
            start_immediately=False,
            max_crashes=2,
            concurrency=1,
        ),
        "fragile": Continuous.make(
            state=str, schedule=every("4 seconds"), execute=refresh, retry=retry, on_exhausted="terminate"
        ),
    }

    async def scenario(sim: Simulation) -> None:
        sim._world.prompt.judges = True
        sim.watch(_check_state)
        for name in definitions:
            for id in ("a", "b"):
                sim.spawn(_use(sim, sim.client.continuous(name), id, server), f"user of {name} {id}")
        await sim.sleep("2 minutes")

    return Case(name="tokens", jobs=releases(definitions), scenario=scenario, lanes=None)


def _check_state(commit: Commit) -> None:
    """A life keeps its family, and its state moves by one token at a time, with a run."""
    if commit.before is None or commit.after is None:
        return
    before, after = commit.before.body, commit.after.body
    if not isinstance(before, ContinuousBody) or not isinstance(after, ContinuousBody):
        return
    if commit.before.revision.life != commit.after.revision.life:
        return
    was, is_ = str(before.state.value), str(after.state.value)
    (family, _, number), (family_after, _, number_after) = was.partition("."), is_.partition(".")
    step = int(number_after) - int(number)
    assert family == family_after, f"{commit.key}: its token is of another life: {was}, {is_}"
    assert step in (0, 1), f"{commit.key}: {was} became {is_}"


async def _use(sim: Simulation, client: ContinuousClient[str], id: str, server: Server) -> None:
    """What one user does, not always wisely."""
    dice = sim.dice
    said: Counter[str] = Counter()
    while not sim.calm:
        try:
            await _do(sim, client, id, server)
        except (InvalidStateError, InstanceNotFoundError):
            said["refused"] += 1
        except DurableJobsError:
            said["failed"] += 1
        await sim.sleep(f"{dice.between(1, 6_000)} ms")


async def _do(sim: Simulation, client: ContinuousClient[str], id: str, server: Server) -> None:
    dice = sim.dice
    match dice.below(14):
        case 0 | 1 | 2:
            await client.start(id, server.family())
        case 3 | 4:
            await client.trigger(id)
        case 5:
            await client.trigger(id, wait=f"{dice.between(1, 20_000)} ms")
        case 6:
            await client.pause(id)
        case 7 | 8:
            await client.resume(id)
        case 9:
            await client.reschedule(id)
        case 10:
            await client.get_state(id)
        case 11 if dice.chance(0.3):
            await client.terminate(id, reason="asked")
        case 12:
            await client.list(limit=3)
        case _:
            await client.status(id)
