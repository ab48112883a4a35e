"""An order is charged to a card. Once: also if the worker dies between the charge and the commit?

    cd examples
    python -m durable_jobs_simulation run charging:wrong     # makes its own key: somebody pays twice
    python -m durable_jobs_simulation run charging:right     # takes the key of the run: nobody does

The handler is as it would be in production. Only the bank is another one: it takes its time, is down now
and then, and remembers. `docs/test-your-handlers.md` tells the whole story.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

from attrs import frozen
from durable_jobs_simulation import Simulation, current, sleep
from durable_jobs_simulation.case import Case

from durable_jobs_core import DurableJobsError, Jobs, Key, Task, TaskContext, create_durable_jobs

# -- production: the job


@frozen
class Order:
    """What is sent, and then the state."""

    cents: int
    receipt: str | None = None


Context = TaskContext[Order]


def own_key(ctx: Context) -> str | None:
    """Wrong: another key for each attempt, so the bank cannot know that it has seen this charge."""
    return str(uuid4())


def key_of_the_run(ctx: Context) -> str | None:
    """Right: the same for every attempt of a run, crashes included."""
    return ctx.idempotency_key


def make_jobs(bank: Bank, key_for: Callable[[Context], str | None]) -> Jobs:
    """The job `orders`, with the bank it is to use."""

    async def accept(order: Order, ctx: Context) -> None:
        ctx.set_state(order)
        ctx.schedule("0 seconds")

    async def charge(ctx: Context) -> None:
        assert ctx.state is not None
        receipt = await bank.charge(ctx.instance_id, ctx.state.cents, key_for(ctx))
        ctx.set_state(Order(ctx.state.cents, receipt))

    orders = Task.make(event=Order, state=Order, on_event=accept, execute=charge)
    return create_durable_jobs({"orders": orders})


# -- the world outside, for the simulation


class Bank:
    """Charges once for a key. `charges`: by key, who paid; `doubled`: who paid more than once."""

    def __init__(self) -> None:
        self.charges: dict[str | None, str] = {}

    @property
    def doubled(self) -> list[str]:
        paid = list(self.charges.values())
        return sorted({payer for payer in paid if paid.count(payer) > 1})

    async def charge(self, payer: str, cents: int, key: str | None) -> str:
        """Take the money; the receipt."""
        await sleep("100 ms")
        if current().mishap("the bank is down", 0.02):
            raise ConnectionError("the bank is down")
        self.charges.setdefault(key, payer)
        await sleep("100 ms")
        return f"receipt {len(self.charges)}"


def case(name: str, key_for: Callable[[Context], str | None]) -> Case:
    """Two orders, and what must hold."""
    bank = Bank()
    accepted: list[str] = []

    async def scenario(sim: Simulation) -> None:
        for order in ("a", "b"):
            try:
                await sim.client.task("orders").send(order, Order(1_999), event_id="once")
                accepted.append(order)
            except DurableJobsError:
                pass  # as in life; what counts is what was accepted
            await sim.sleep("10 seconds")

    def nobody_pays_twice(sim: Simulation) -> None:
        assert not bank.doubled, f"{', '.join(bank.doubled)} paid twice"

    def what_was_accepted_is_paid(sim: Simulation) -> None:
        for order in accepted:
            key = Key("task", "orders", order)
            if sim.status(key) == "idle":  # else a retry is on its way, or it was given up and is parked
                assert str(key) in bank.charges.values(), f"{order} is done and not paid"

    return Case(
        name=name,
        jobs=make_jobs(bank, key_for),
        scenario=scenario,
        invariants=(nobody_pays_twice,),
        at_end=(what_was_accepted_is_paid,),
    )


def wrong() -> Case:
    """With the bug."""
    return case("charging:wrong", own_key)


def right() -> Case:
    """Without it."""
    return case("charging:right", key_of_the_run)
