"""From incident to test: a journal of production (`durable_jobs_core.journal`), replayed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from attrs import frozen

from durable_jobs_core.jobs import Jobs
from durable_jobs_core.journal import read
from durable_jobs_core.record import Record
from durable_jobs_core.words import Failure, Key, printable
from durable_jobs_simulation.replaying import CalledAgain, Replaying
from durable_jobs_simulation.tasks import SimulationError

SHOWN = 40


class JournalDiffers(AssertionError):
    """A journal was replayed, and it went another way."""


@frozen(kw_only=True)
class Replay:
    """What came of a replay.

    `steps`, `torn`: how many lines were made again, and how many could not be read; `called`: the hooks that
    were called again; `records`: what the instances are at the end; `verdict`: in a line; `good`: whether
    nothing fails and, if nothing failed then either, all is as it was.
    """

    journal: Path
    steps: int
    torn: int
    called: tuple[CalledAgain, ...]
    records: dict[Key, Record | None]
    broke: Exception | None
    verdict: str
    good: bool

    @property
    def failures(self) -> tuple[CalledAgain, ...]:
        """The hooks that fail now."""
        return tuple(called for called in self.called if isinstance(called.now, Failure))

    def check(self, *, line: int | None = None) -> None:
        """For a test: raise what a hook raises now, the first that fails or, if given, the one of that line.
        Otherwise raises `JournalDiffers` if it went another way."""
        failed = next((called for called in self.failures if line in (None, called.line)), None)
        error = self.broke if failed is None else failed.error
        if error is not None:
            error.add_note(f"{self.journal}: {failed or self.verdict}")
            raise error
        if not self.good and not self.failures:
            raise JournalDiffers(f"{self.journal}: {self.verdict}")

    def text(self) -> str:
        """For a terminal."""
        torn = f" ({self.torn} lines are torn)" if self.torn else ""
        head = f"{self.steps} steps{torn}, {len(self.called)} calls of hooks; instances: {len(self.records)}"
        shown = [called for called in self.called if called in self.failures or not called.same]
        return "\n".join(map(printable, [head, *map(str, shown[-SHOWN:]), self.verdict])) + "\n"


def replay(journal: str | Path, jobs: Jobs | Callable[[], Jobs]) -> Replay:
    """Make the steps of a journal again, and call its hooks again, over the definitions `jobs`, or those
    that `jobs()` makes.

    Hooks are called as in a simulation: what they reach outside has to be a fake. Raises `SimulationError`
    for what cannot be replayed: a hook that wants a real event loop, a job that is not registered, a file
    that is no journal.
    """
    path = Path(journal)
    try:
        steps, writes, torn = read(lines_of(path))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise SimulationError(f"{path} is no journal: {error!r}") from error
    run = Replaying(jobs if isinstance(jobs, Jobs) else jobs(), steps, writes)
    run.run(steps)
    good, verdict = _judge(run)
    return Replay(
        journal=path,
        steps=len(steps),
        torn=torn,
        called=tuple(run.called),
        records=run.records,
        broke=run.broke,
        verdict=verdict,
        good=good,
    )


def _judge(run: Replaying) -> tuple[bool, str]:
    failures = [called for called in run.called if isinstance(called.now, Failure)]
    changed = [called for called in run.called if not called.same]
    if run.broke is not None:
        return False, f"it fails the same way, by a bug of the library: {run.broke!r}"
    if run.difference is not None:
        return False, f"it went another way: {run.difference}"
    if failures:
        last = failures[-1]
        how = " the same way" if last.same else " in another way"
        return False, f"it fails{how if last.was is not None else ''}"
    if run.mended or any(isinstance(called.was, Failure) for called in run.called):
        return True, "it fails no more"
    if changed:
        return False, f"it went another way: {changed[0]}"
    return True, "the same, step by step"


def lines_of(path: Path) -> list[str]:
    """The lines of a journal, with those of the file before it."""
    files = [file for file in (path.with_name(f"{path.name}.1"), path) if file.exists()] or [path]
    texts = (file.read_text(encoding="utf-8", errors="replace") for file in files)
    return [line for text in texts for line in text.split("\n") if line]


TEST = '''"""{what}."""

from pathlib import Path

from durable_jobs_simulation import replay
from {module} import {name}

JOURNAL = Path(__file__).with_name("{journal}")


def test_{job}():
    replay(JOURNAL, {name}).check(line={line})
'''


def write_test(replayed: Replay, module: str, name: str, path: Path) -> tuple[str, str]:
    """Write a test that fails as the last failing hook did, and its part of the journal beside it.

    `module`, `name`: where the definitions are. Returns both paths. Raises `SimulationError` if no hook
    fails.
    """
    if not replayed.failures:
        raise SimulationError("no hook fails, so there is nothing to test")
    failed = replayed.failures[-1]
    key = failed.call.key
    lines = lines_of(replayed.journal)[: failed.line]
    mine = [line for line in lines if _is_of(line, key)]
    journal = path.with_suffix(".jsonl")
    journal.write_text("\n".join(mine) + "\n", encoding="utf-8")
    job = "".join(char if char.isalnum() else "_" for char in f"{key.job}_{failed.call.hook}").lower()
    what = printable(failed.what).replace("\\", "/").replace('"', "'")
    text = TEST.format(what=what, module=module, name=name, journal=journal.name, job=job, line=len(mine))
    path.write_text(text, encoding="utf-8")
    return str(path), str(journal)


def _is_of(line: str, key: Key) -> bool:
    try:
        return bool(json.loads(line)["key"] == list(key))
    except ValueError:
        return False
