"""A handler that fails in production, and the journal that is made a test of it.

    cd examples
    python payouts.py incident.jsonl                # production: a payout fails
    python -m durable_jobs_simulation replay incident.jsonl payouts:jobs --as-test test_incident.py

`docs/test-your-handlers.md` tells the whole story.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from tempfile import TemporaryDirectory

import durable_jobs_asyncio
from attrs import frozen
from durable_jobs_runtime import FileJournal

from durable_jobs_core import Task, TaskContext, create_durable_jobs


@frozen
class Sale:
    """What a shop sold, or took back."""

    order: str
    cents: int
    refunded: bool = False


@frozen
class Account:
    """What is to be paid out to a shop."""

    sales: tuple[Sale, ...] = ()
    paid: int = 0
    since: str = ""


async def take(sale: Sale, ctx: TaskContext[Account]) -> None:
    sales = () if ctx.state is None else ctx.state.sales
    kept = tuple(other for other in sales if other.order != sale.order)
    ctx.set_state(Account(kept if sale.refunded else (*kept, sale)))
    ctx.schedule("7 days")


async def pay_out(ctx: TaskContext[Account]) -> None:
    assert ctx.state is not None
    sales = ctx.state.sales
    first = sales[0]  # wrong: all may have been refunded
    ctx.set_state(Account(paid=sum(sale.cents for sale in sales), since=first.order))


payouts = Task.make(event=Sale, state=Account, on_event=take, execute=pay_out, retry=None)
jobs = create_durable_jobs({"payouts": payouts})


async def main(path: str) -> None:
    """Production: two shops sell, one of them has to take it back."""
    logging.disable()
    journal = FileJournal(path, of="payouts")
    with TemporaryDirectory() as folder:
        async with durable_jobs_asyncio.open_runtime(
            jobs, f"sqlite:///{folder}/jobs.db", journal=journal
        ) as runtime:
            client = runtime.client.task(payouts)
            await client.send("ann", Sale("order-1", 4_200))
            await client.send("bob", Sale("order-2", 1_900))
            await client.send("bob", Sale("order-2", 1_900, refunded=True))
            for shop in ("ann", "bob"):
                ran = await client.trigger(shop, wait="10 seconds")
                print(f"{shop}: {ran.outcome}, {ran.error or 'paid'}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
