"""Durable jobs at work: `make demo`, or `python examples/demo.py`. About half a minute, no input needed.

A client starts token refreshers, sends webhooks and walks orders, on one SQLite file in a temporary
folder. The worker is another process (`demo_jobs.py`). Three times it is killed with SIGKILL at the
worst moment, when a service outside has just done something and nothing of it is stored, and is started
again; the client goes on meanwhile. At the end, what the client was promised is compared with what
happened outside (`demo_account.py`): the exit code is 1 if anything was lost or applied twice.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import tempfile
import textwrap
import time
from collections import Counter
from pathlib import Path
from typing import Any

import demo_jobs as world
import durable_jobs_asyncio
from attrs import define, field
from demo_account import Check, Effect, Log, verify
from demo_screen import Line, Row, Screen, bar, table
from durable_jobs_asyncio import Runtime

from durable_jobs_core import DuplicateEventError

USERS = [f"user-{number}" for number in range(1, 5)]
REPOSITORIES = ["octo/api", "octo/web", "octo/docs", "octo/infra"]
WEBHOOKS = 320
ORDERS = [f"order-{number}" for number in range(1, 17)]
EVENTS = WEBHOOKS + 4 * len(ORDERS)
KILLS = [(3.0, "oauth"), (6.0, "carrier"), (9.0, "receiver")]
BUSY = ("debouncing", "flushing", "active", "parked")
AWAY_SECONDS = 0.8  # from a kill to the next start
LONGEST_SECONDS = 50.0
WIDTH = 76
ABOUT = (
    "A client sends tokens, webhooks and orders; a worker, another process, runs the jobs. They share one "
    "SQLite file. The worker is killed three times, just when a service outside has done something and "
    "nothing of it is stored."
)


class WorkerDied(Exception):
    """The worker ended, and not because it was killed by the demo."""


# -- the client: what an application does


async def keep_tokens(runtime: Runtime, log: Log) -> None:
    """Continuous: start an instance per user; it runs by itself from then on."""
    tokens = runtime.client.continuous(world.token_refresher)
    for user in USERS:
        await tokens.start(id=user, input=world.Tokens(refresh=log.first_token))


async def send_webhooks(runtime: Runtime, log: Log) -> None:
    """Debounce: add events. Senders repeat themselves; the event's id tells."""
    batcher = runtime.client.debounce(world.webhook_batcher)
    for number in range(WEBHOOKS):
        webhook = world.Webhook(random.choice(REPOSITORIES), f"delivery-{number}")
        mine = log.webhooks.setdefault(webhook.repository, [])
        await batcher.add(webhook.repository, webhook, event_id=webhook.delivery)
        mine.append(webhook.delivery)
        if number % 10 == 0:
            try:
                await batcher.add(webhook.repository, webhook, event_id=webhook.delivery)
                mine.append(webhook.delivery)  # it must not come to this: the account will not balance
            except DuplicateEventError:
                log.refused += 1
        await asyncio.sleep(0.03)


async def walk_order(runtime: Runtime, log: Log, order: str, begin: float) -> None:
    """Task: send events; each is applied once, also those that come while the order is being shipped."""
    orders = runtime.client.task(world.orders)
    events: list[world.OrderEvent] = [
        world.Placed(1, item="a lamp"),
        world.Noted(2, wish="the green one"),
        world.Paid(3, amount=40),
        world.Noted(4, wish="ring twice"),
    ]
    await asyncio.sleep(begin)
    for event in events:
        await orders.send(order, event, event_id=f"event-{event.number}")
        log.orders.setdefault(order, []).append(event.number)
        await asyncio.sleep(random.uniform(0.1, 0.6))


async def everything_is_done(runtime: Runtime) -> None:
    """Return when no webhook is held and no order is at work."""
    while True:
        if not [instance async for instance in runtime.client.instances() if instance.status in BUSY]:
            return
        await asyncio.sleep(0.1)


async def settle(runtime: Runtime, log: Log) -> None:
    """Pause the tokens, end the run of each that has not ended, and read how all stands."""
    tokens, orders = runtime.client.continuous(world.token_refresher), runtime.client.task(world.orders)
    for user in USERS:
        await tokens.pause(user)
    for user in USERS:
        while (await tokens.trigger(user, wait="5 seconds")).outcome != "succeeded":
            pass  # it was unlucky, or was waiting for its retry: again, now
        log.tokens[user] = (await tokens.get_state(user)).state
        log.runs[user] = (await tokens.status(user)).run_count
    for order in ORDERS:
        log.order_states[order] = (await orders.get_state(order)).state


# -- the worker, and what is seen of it


class Tail:
    """The lines of JSON that another process adds to a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[dict[str, Any]] = []
        self._read = 0

    def follow(self) -> list[dict[str, Any]]:
        """Read on; the new lines."""
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            file.seek(self._read)
            text = file.read()
        text = text[: text.rfind(b"\n") + 1]
        self._read += len(text)
        new = [json.loads(line) for line in text.splitlines()]
        self.lines += new
        return new


@define
class Stage:
    """The demo as it goes: the worker's process, its files, what happened when."""

    folder: Path
    screen: Screen
    log: Log = field(factory=Log)
    began: float = field(factory=time.monotonic)
    worker: subprocess.Popen[bytes] | None = None
    kills: int = 0
    story: list[Line] = field(factory=list[Line])
    retried: str = ""
    effects: Tail = field(init=False)
    telemetry: Tail = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.effects = Tail(self.folder / world.EFFECTS)
        self.telemetry = Tail(self.folder / world.TELEMETRY)

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self.began

    def tell(self, word: str, text: str, style: str = "") -> None:
        """Something worth telling happened."""
        line = Line(f"  {self.seconds:4.1f} s  {word:8} {text}", style)
        self.story.append(line)
        if not self.screen.is_live:
            self.screen.say(line)

    def start(self) -> None:
        """Start the worker."""
        with (self.folder / "worker.log").open("ab") as output:
            script = [sys.executable, world.__file__]
            self.worker = subprocess.Popen(script, cwd=self.folder, stdout=output, stderr=output)
        self.tell("started", f"the worker, process {self.worker.pid}", "good")

    @property
    def acknowledged(self) -> int:
        """How many events the client was promised."""
        webhooks, orders = self.log.webhooks.values(), self.log.orders.values()
        return sum(map(len, webhooks)) + sum(map(len, orders))

    async def kill(self, after: float, service: str) -> None:
        """When `service` has next done something, after so many seconds: SIGKILL, before it is stored."""
        while self.seconds < after:
            await asyncio.sleep(0.01)
        seen = len(self.effects.lines)
        while not (hit := [line for line in self.effects.lines[seen:] if line["service"] == service]):
            await asyncio.sleep(0.005)
        assert self.worker is not None, "it was started"
        self.worker.kill()
        self.worker.wait()
        self.worker = None
        self.kills += 1
        self.tell("SIGKILL", f"{hit[0]['instance']}: done, not stored", "bad")

    def stop(self) -> None:
        """SIGTERM: the worker lets its hooks finish."""
        if self.worker is not None:
            self.worker.terminate()
            self.worker.wait()
            self.worker = None

    def look(self) -> None:
        """Read what the worker has written."""
        self.effects.follow()
        for value in self.telemetry.follow():
            what = f"{value['instanceId']}, {value.get('error', {}).get('message', '')}"
            if value["type"] == "job.failed":
                self.retried = what
            elif value["type"] == "job.crashed":
                self.tell("crash", f"{value['instanceId']}: noticed, made again", "warm")
        if self.worker is not None and self.worker.poll() is not None:
            said = (self.folder / "worker.log").read_text()[-2_000:]
            raise WorkerDied(f"the worker ended by itself:\n{said}")


async def kill_three_times(stage: Stage) -> None:
    """Kill the worker as planned, and start it again each time."""
    stage.start()
    for after, service in KILLS:
        await stage.kill(after, service)
        before = stage.acknowledged
        await asyncio.sleep(AWAY_SECONDS)
        stage.tell(
            "no harm", f"{stage.acknowledged - before} events were accepted while there was no worker", "dim"
        )
        stage.start()


# -- what is shown


def rows(stage: Stage) -> list[Row]:
    """The jobs, with what telemetry says of them."""
    counts = Counter((line["jobName"], line["type"]) for line in stage.telemetry.lines if _counts(line))
    log = stage.log
    jobs = [
        ("continuous", "tokenRefresher", len(USERS), None),
        ("debounce", "webhookBatcher", len(log.webhooks), sum(map(len, log.webhooks.values()))),
        ("task", "orders", len(log.orders), sum(map(len, log.orders.values()))),
    ]
    types = ("job.executed", "job.failed", "job.crashed")
    return [Row(*job, *(counts[job[1], type_] for type_ in types)) for job in jobs]


def _counts(line: dict[str, Any]) -> bool:
    """Whether telemetry speaks of the work itself, not of a hook beside it."""
    hook: str = line.get("hook", "execute")
    return hook == "execute"


def picture(stage: Stage) -> list[Line]:
    """The table, and what happened last."""
    worker = f"worker {stage.worker.pid}" if stage.worker else "no worker"
    times = f"{stage.seconds:4.1f} s   {worker}   {stage.kills} of {len(KILLS)} kills"
    head = f"  durable-jobs  {bar(stage.acknowledged / EVENTS)}  {times}"
    retried = Line(f"          retry    {stage.retried}" if stage.retried else "", "dim")
    return [Line(), Line(head, "bold"), Line(), *table(rows(stage)), Line(), *stage.story[-12:], retried]


async def show(stage: Stage) -> None:
    """Look at the worker all the time, and show it a few times a second."""
    frame = 0
    while True:
        stage.look()
        frame += 1
        if stage.screen.is_live and frame % 15 == 0:
            stage.screen.draw(picture(stage))
        elif not stage.screen.is_live and frame % 300 == 0:
            shown = (f"{row.job}: runs {row.runs}, retries {row.retries}" for row in rows(stage))
            stage.tell("at work", "; ".join(shown), "dim")
        await asyncio.sleep(0.01)


def account(stage: Stage, checks: list[Check]) -> bool:
    """Say what was checked; whether all holds."""
    say = stage.screen.say
    if not stage.screen.is_live:  # else it is on the screen already
        for line in [Line(), Line("  What ran", "bold"), *table(rows(stage))]:
            say(line)
    say(Line())
    say(Line("  What the client was promised, beside what happened outside", "bold"))
    for check in checks:
        mark, style = ("✗", "bad") if check.wrong else ("✓", "good")
        text = textwrap.wrap(check.holds, WIDTH, initial_indent=f"  {mark} ", subsequent_indent="    ")
        for part in [*text, *(f"      {wrong}" for wrong in check.wrong)]:
            say(Line(part, style))
    holds = all(check.wrong == () for check in checks)
    verdict = "nothing was lost, nothing was applied twice" if holds else "the account does not balance"
    crashes = sum(row.crashes for row in rows(stage))
    say(Line())
    say(Line(f"  {stage.kills} kills, {crashes} crashes seen: {verdict}.", "bold"))
    say(Line("  The jobs are in examples/demo_jobs.py, what was checked in examples/demo_account.py.", "dim"))
    return holds


# -- the play


async def act(stage: Stage, runtime: Runtime) -> None:
    """Send everything, kill the worker on the way, wait until all is done, read how it stands."""
    log = stage.log
    async with asyncio.timeout(LONGEST_SECONDS):
        await asyncio.gather(
            keep_tokens(runtime, log),
            send_webhooks(runtime, log),
            *(walk_order(runtime, log, order, 0.7 * turn) for turn, order in enumerate(ORDERS)),
            kill_three_times(stage),
        )
        await everything_is_done(runtime)
        await settle(runtime, log)


async def play(stage: Stage) -> None:
    """Act, and show it."""
    url = f"sqlite:///{stage.folder / world.DATABASE}"
    async with (
        durable_jobs_asyncio.open_runtime(world.JOBS, url, worker=False) as runtime,
        asyncio.TaskGroup() as group,
    ):
        showing = group.create_task(show(stage))
        await act(stage, runtime)
        showing.cancel()


def main() -> int:
    """Play, check, tell; the exit code."""
    trouble: tuple[str, ...] = ()
    with tempfile.TemporaryDirectory(prefix="durable-jobs-") as folder:
        stage = Stage(Path(folder), Screen())
        for line in ["", *textwrap.wrap(ABOUT, WIDTH)]:
            stage.screen.say(Line(f"  {line}", "dim"))
        try:
            asyncio.run(play(stage))
        except* (TimeoutError, WorkerDied) as errors:
            trouble = tuple(f"{type(error).__name__}: {error}" for error in errors.exceptions)
        finally:
            stage.stop()
        stage.look()
        if stage.screen.is_live:
            stage.screen.draw(picture(stage))
        checks = verify(stage.log, (Effect(**line) for line in stage.effects.lines))
        finished = Check(f"finished in {stage.seconds:.0f} s", trouble)
        return 0 if account(stage, [*checks, finished]) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted")
