"""Batch webhooks by repository and deliver each batch, whatever dies in between.

    python examples/webhooks.py --payloads DIR --db FILE --url URL

adds every `*.json` of DIR (a webhook payload; the event's id is the file's name) to a debounce per
repository, POSTs each batch to URL as `{"repository", "idempotency_key", "flush_reason", "files"}`, and
exits with 0 when all are delivered. Kill it at any moment and start it again with the same arguments:
it goes on where it was. A batch may be delivered again, then with the same key and the same files.

An event without a repository goes by its organization, or the account of its installation; these have
no slash in their names. A file that holds no JSON object is named on stderr and left out; the others
are delivered all the same, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import durable_jobs_asyncio
from attrs import frozen
from durable_jobs_asyncio import Runtime

from durable_jobs_core import (
    Backoff,
    Debounce,
    DebounceContext,
    DebounceEventContext,
    DuplicateEventError,
    DurableJobsError,
    OverloadedError,
    Retry,
    ValidationError,
    create_durable_jobs,
)
from durable_jobs_core.engine import Limits

# What a killed process was about goes on when its lease ends: here sooner than by default.
LIMITS = Limits(lease=3_000, hold=1_000)
ADDED_AT_A_TIME = 200
MOST_WAITING = 1_000  # webhooks of a repository, while its receiver is slow or away
FOREVER = 1_000_000
OWNERS = (("repository", "full_name"), ("organization", "login"), ("installation", "account", "login"))
NO_REPOSITORY = "(no repository)"
HOLDING = ("debouncing", "flushing", "parked")


@frozen
class Webhook:
    """One payload, by the name of its file."""

    repository: str
    file: str


@frozen
class Batch:
    """What is to be delivered together."""

    repository: str
    files: list[str]


# -- the job


def collect(ctx: DebounceEventContext[Webhook, Batch]) -> Batch:
    """Add a webhook to the batch of its repository."""
    files = ctx.state.files if ctx.state is not None else []
    return Batch(ctx.event.repository, [*files, ctx.event.file])


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirected POST would arrive as a GET without its body: let it fail instead."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def batcher(url: str, *, timeout: float, flush_after: float, most_files: int) -> Debounce[Webhook, Batch]:
    """The job: at most `flush_after` seconds or 50 webhooks a batch, tried until the receiver takes it."""
    receiver = urllib.request.build_opener(NoRedirects)

    def deliver(ctx: DebounceContext[Batch]) -> None:
        body = {
            "repository": ctx.state.repository,
            "idempotency_key": ctx.idempotency_key,  # the same however often this batch is tried
            "flush_reason": ctx.flush_reason,
            "files": ctx.state.files,
        }
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(url, json.dumps(body).encode(), headers, method="POST")
        with receiver.open(request, timeout=timeout):
            pass  # anything but 2xx raises, and is tried again

    return Debounce.make(
        event=Webhook,
        state=Batch,
        on_event=collect,
        execute=deliver,
        flush_after=timedelta(seconds=flush_after),
        max_events=50,
        max_pending=MOST_WAITING,
        retry=Retry(max_attempts=FOREVER, delay=Backoff.exponential("100 ms", max="5 seconds")),
        max_crashes=FOREVER,
        remember_ids=max(most_files, 128),
        remember_ids_for="365 days",
    )


# -- the payloads


def owner(payload: dict[str, Any]) -> str:
    """Whose batch a payload belongs to: its repository's, or else its organization's or installer's."""
    for path in OWNERS:
        found: Any = payload
        for name in path:
            found = found.get(name) if isinstance(found, dict) else None
        if found and isinstance(found, str):
            return found
    return NO_REPOSITORY


def read(folder: Path) -> tuple[list[Webhook], list[str]]:
    """The webhooks of a folder in the order of their names, and what is wrong with the other files."""
    webhooks: list[Webhook] = []
    problems: list[str] = []
    for path in sorted(folder.glob("*.json")):
        try:
            payload = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            problems.append(f"{path}: expected a JSON object: {error}")
            continue
        if isinstance(payload, dict):
            webhooks.append(Webhook(owner(payload), path.name))
        else:
            problems.append(f"{path}: expected a JSON object, got {type(payload).__name__}")
    return webhooks, problems


# -- the run


async def add_all(runtime: Runtime, job: Debounce[Webhook, Batch], webhooks: Iterable[Webhook]) -> list[str]:
    """Add all webhooks that are not known yet; what could not be added."""
    client, turn = runtime.client.debounce(job), asyncio.Semaphore(ADDED_AT_A_TIME)
    counts = Counter[str]()
    problems: list[str] = []

    async def add(webhook: Webhook) -> None:
        while True:
            try:
                async with turn:
                    await client.add(webhook.repository, webhook, event_id=webhook.file)
                counts["added"] += 1
            except DuplicateEventError:
                counts["known"] += 1
            except OverloadedError:  # its receiver is slow or away: wait until there is room
                await asyncio.sleep(0.1)
                continue
            except ValidationError as error:
                problems.append(f"{webhook.file!r}: {error}")
            return

    await asyncio.gather(*map(add, webhooks))
    print(f"{counts['added']} webhooks added, {counts['known']} known from an earlier run", flush=True)
    return problems


async def delivered(runtime: Runtime, job: Debounce[Webhook, Batch]) -> None:
    """Return when nothing is held any more; until then say what is, whenever that changes."""
    client = runtime.client.debounce(job)
    told = ""
    while True:
        # one listing: in one for each status, whoever goes back from flushing to debouncing may be in none
        listing = runtime.client.instances(kind="debounce", job=client.name)
        held = [instance.key.id async for instance in listing if instance.status in HOLDING]
        if not held:
            return
        status = await client.status(held[0])
        trouble = f"; {held[0]}: {status.last_error}" if status.last_error else ""
        news = f"repositories with something to deliver: {len(held)}{trouble}"
        if news != told:
            print(news, flush=True)
            told = news
        await asyncio.sleep(0.1)


async def run(arguments: argparse.Namespace) -> int:
    """Add the webhooks, wait until all are delivered; the exit code."""
    webhooks, problems = read(arguments.payloads)
    most_files = max(Counter(webhook.repository for webhook in webhooks).values(), default=0)
    job = batcher(
        arguments.url, timeout=arguments.timeout, flush_after=arguments.flush_after, most_files=most_files
    )
    jobs = create_durable_jobs({"webhooks": job})
    async with durable_jobs_asyncio.open_runtime(
        jobs, f"sqlite:///{quote(str(arguments.db))}", limits=LIMITS
    ) as runtime:
        problems += await add_all(runtime, job, webhooks)
        await delivered(runtime, job)
    print("all delivered" if not problems else "the others are delivered")
    print(*problems, sep="\n", end="\n" if problems else "", file=sys.stderr)
    return 1 if problems else 0


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--payloads", type=Path, required=True, help="a folder of *.json")
    parser.add_argument("--db", type=Path, required=True, help="the SQLite file, made if missing")
    parser.add_argument("--url", required=True, help="where batches are POSTed")
    parser.add_argument("--timeout", type=float, default=5, help="seconds the receiver has to answer")
    parser.add_argument("--flush-after", type=float, default=0.5, help="seconds a batch is collected")
    arguments = parser.parse_args()
    if urlsplit(arguments.url).scheme not in ("http", "https"):
        sys.exit(f"{arguments.url}: expected an http or https URL")
    if not arguments.payloads.is_dir():
        sys.exit(f"{arguments.payloads}: expected a folder")
    try:
        sys.exit(asyncio.run(run(arguments)))
    except DurableJobsError as error:
        sys.exit(f"{arguments.db}: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; start it again with the same arguments and it goes on")


if __name__ == "__main__":
    main()
