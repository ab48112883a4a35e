"""Batch webhooks by repository and deliver each batch once, whatever dies in between.

    python examples/webhooks.py --payloads DIR --db FILE --url URL

adds every `*.json` of DIR (a webhook payload; the event's id is the file's name) to a debounce per
repository, POSTs each batch to URL as `{"repository", "idempotency_key", "flush_reason", "files"}`, and
exits with 0 when all are delivered. Kill it at any moment and start it again with the same arguments:
it goes on where it was. A batch may be delivered again, then with the same key and the same files.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import urllib.request
from collections import Counter
from pathlib import Path

import durable_jobs_asyncio
from attrs import frozen

from durable_jobs_core import (
    Backoff,
    Debounce,
    DebounceContext,
    DebounceEventContext,
    DuplicateEventError,
    Retry,
    create_durable_jobs,
)

HTTP_SECONDS = 2.0
AT_A_TIME = 200


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


def collect(ctx: DebounceEventContext[Webhook, Batch]) -> Batch:
    """Add a webhook to the batch of its repository."""
    files = ctx.state.files if ctx.state is not None else []
    return Batch(ctx.event.repository, [*files, ctx.event.file])


def batcher(url: str, most_files: int) -> Debounce[Webhook, Batch]:
    """The job: at most half a second or 50 webhooks a batch, tried until the receiver takes it."""

    def deliver(ctx: DebounceContext[Batch]) -> None:
        body = {
            "repository": ctx.state.repository,
            "idempotency_key": ctx.idempotency_key,
            "flush_reason": ctx.flush_reason,
            "files": ctx.state.files,
        }
        request = urllib.request.Request(
            url, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
        )
        with urllib.request.urlopen(request, timeout=HTTP_SECONDS):
            pass  # anything but 2xx raises, and is tried again

    return Debounce.make(
        event=Webhook,
        state=Batch,
        on_event=collect,
        execute=deliver,
        flush_after="500 ms",
        max_events=50,
        retry=Retry(max_attempts=1_000_000, delay=Backoff.exponential("100 ms", max="2 seconds")),
        max_crashes=1_000_000,
        remember_ids=max(most_files, 128),
        remember_ids_for="365 days",
    )


def read(folder: Path) -> list[Webhook]:
    """The webhooks of a folder, in the order of their names."""
    webhooks: list[Webhook] = []
    for path in sorted(folder.glob("*.json")):
        try:
            payload = json.loads(path.read_bytes())
            repository = payload.get("repository") or {}
            name = repository.get("full_name") or "(no repository)"
        except (ValueError, AttributeError) as error:
            sys.exit(f"{path}: expected a webhook payload, a JSON object: {error}")
        webhooks.append(Webhook(name, path.name))
    return webhooks


async def run(webhooks: list[Webhook], db: Path, url: str) -> None:
    """Add all webhooks, then wait until nothing is held any more."""
    most_files = max(Counter(webhook.repository for webhook in webhooks).values(), default=0)
    job = batcher(url, most_files)
    jobs = create_durable_jobs({"webhooks": job})
    turn = asyncio.Semaphore(AT_A_TIME)
    added = known = 0
    async with durable_jobs_asyncio.open_runtime(jobs, f"sqlite:///{db}") as runtime:
        client = runtime.client.debounce(job)

        async def add(webhook: Webhook) -> None:
            nonlocal added, known
            async with turn:
                try:
                    await client.add(webhook.repository, webhook, event_id=webhook.file)
                    added += 1
                except DuplicateEventError:
                    known += 1

        await asyncio.gather(*map(add, webhooks))
        print(f"{added} webhooks added, {known} known from an earlier run", flush=True)
        while True:
            held = [
                instance
                for status in ("debouncing", "flushing", "parked")
                for instance in (await client.list(status=status)).instances
            ]
            if not held:
                break
            print(f"{len(held)} repositories have something to deliver", flush=True)
            await asyncio.sleep(0.2)
    print("all delivered")


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--payloads", type=Path, required=True, help="a folder of *.json")
    parser.add_argument("--db", type=Path, required=True, help="the SQLite file, made if missing")
    parser.add_argument("--url", required=True, help="where batches are POSTed")
    arguments = parser.parse_args()
    if not arguments.payloads.is_dir():
        sys.exit(f"{arguments.payloads}: expected a folder")
    asyncio.run(run(read(arguments.payloads), arguments.db, arguments.url))


if __name__ == "__main__":
    main()
