"""Keep the tokens of many users fresh, with refresh tokens that can be used only once.

    python examples/oauth_server.py --trouble 0.3 &
    python examples/token_refresh.py --db tokens.db --url http://127.0.0.1:8400 --users 3 --every 1

Each run presents the refresh token that the run before has stored, and sends `ctx.idempotency_key`.
If this process is killed after the server has rotated the token and before the new one is stored, the
next attempt presents a used token: with the key of its run, so the server repeats its answer instead of
revoking the family. Kill it at any moment and start it again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import timedelta
from urllib.parse import quote, urlencode

import durable_jobs_asyncio
from attrs import frozen

from durable_jobs_core import (
    Backoff,
    Continuous,
    ContinuousClient,
    ContinuousContext,
    DurableJobsError,
    NonRetryable,
    Retry,
    create_durable_jobs,
    every,
)
from durable_jobs_core.engine import Limits

# What a killed process was about goes on when its lease ends: here sooner than by default.
LIMITS = Limits(lease=2_000, hold=1_000)
HTTP_SECONDS = 5.0
FOREVER = 1_000_000


@frozen
class Tokens:
    """What an OAuth server answers."""

    access_token: str
    refresh_token: str
    expires_in: int


class Revoked(NonRetryable):
    """The server refuses the token: no retry helps, the user has to log in again."""


def ask(url: str, form: Mapping[str, str], idempotency_key: str) -> Tokens:
    """Ask the token endpoint. Raises `Revoked`, or another exception if it may be tried again."""
    headers = {"Idempotency-Key": idempotency_key}
    request = urllib.request.Request(f"{url}/token", urlencode(form).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=HTTP_SECONDS) as response:
            return Tokens(**json.load(response))
    except urllib.error.HTTPError as error:
        if error.code == 400:
            raise Revoked(error.read().decode()) from error
        raise


def refresher(url: str, seconds: float) -> Continuous[Tokens]:
    """The job.

    A run that gave up may have used its token, and the next run has another key: so it is never
    skipped (`on_exhausted="park"`, where the default for continuous jobs is to go on).
    """

    def refresh(ctx: ContinuousContext[Tokens]) -> None:
        form = {"grant_type": "refresh_token", "refresh_token": ctx.state.refresh_token}
        ctx.set_state(ask(url, form, ctx.idempotency_key))

    return Continuous.make(
        state=Tokens,
        schedule=every(timedelta(seconds=seconds)),
        execute=refresh,
        retry=Retry(max_attempts=FOREVER, delay=Backoff.exponential("100 ms", max="1 minute")),
        max_crashes=FOREVER,
        on_exhausted="park",
    )


async def log_in(tokens: ContinuousClient[Tokens], url: str, user: str) -> None:
    """Start an instance with the tokens of a login, unless there is one.

    The login is a request like others: repeated with its key, after a crash, it is the same login.
    """
    if (await tokens.status(user)).status != "not_found":
        return
    form = {"grant_type": "authorization_code", "code": user}
    while True:
        try:
            first = await asyncio.to_thread(ask, url, form, f"login-{user}")
            break
        except OSError as error:
            print(f"{user}: {error}", file=sys.stderr)
            await asyncio.sleep(0.2)
    await tokens.start(id=user, input=first)


async def watch(tokens: ContinuousClient[Tokens], users: list[str], runs: int) -> int:
    """Return when each user's token has been refreshed `runs` times, or one needs a login: exit code."""
    while True:
        found = {user: await tokens.status(user) for user in users}
        for user, status in found.items():
            if status.status == "parked":
                print(f"{user}: log in again: {status.last_error}", file=sys.stderr)
                return 1
        if all(status.run_count > runs for status in found.values()):  # `runs` of them have ended
            for user, status in found.items():
                print(f"{user}: refreshed at least {status.run_count - 1} times")
            return 0
        await asyncio.sleep(0.1)


async def run(arguments: argparse.Namespace) -> int:
    """Log all users in and keep their tokens fresh; the exit code."""
    job = refresher(arguments.url, arguments.every)
    jobs = create_durable_jobs({"tokenRefresher": job})
    users = [f"user-{number}" for number in range(1, arguments.users + 1)]
    url = f"sqlite:///{quote(arguments.db)}"
    async with durable_jobs_asyncio.open_runtime(jobs, url, limits=LIMITS) as runtime:
        tokens = runtime.client.continuous(job)
        await asyncio.gather(*(log_in(tokens, arguments.url, user) for user in users))
        print(f"{len(users)} users, refreshed every {arguments.every:g} s", flush=True)
        if arguments.runs is not None:
            return await watch(tokens, users, arguments.runs)
        await runtime.serve()  # until SIGTERM or SIGINT
        return 0


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--db", required=True, help="the SQLite file, made if missing")
    parser.add_argument("--url", required=True, help="of the OAuth server")
    parser.add_argument("--users", type=int, default=3)
    parser.add_argument("--every", type=float, default=1800.0, help="seconds between refreshes")
    parser.add_argument("--runs", type=int, help="end when each token was refreshed so often")
    arguments = parser.parse_args()
    try:
        sys.exit(asyncio.run(run(arguments)))
    except DurableJobsError as error:
        sys.exit(f"{arguments.db}: {error}")


if __name__ == "__main__":
    main()
