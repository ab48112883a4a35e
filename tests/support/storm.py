"""A process that commits without end: `python -m support.storm URL NAME WRITES`.

Each round raises the number of every one of its rows, WRITES of them in one batch, and takes whatever of
its rows is due. It says the number once the batch is acknowledged.
"""

from __future__ import annotations

import os
import sys

from durable_jobs_sqlite import SQLiteBackend, _file

from durable_jobs_core.backend import Batch, Claim, Committed, Refused, Row, Write
from durable_jobs_core.words import Key

FOREVER = 2**63 - 1


def row(name: str, number: int, id: int) -> Row:
    """The row as it is in a round: what is in it says the number thrice."""
    text = f"{number:09}"
    blob = text.encode() * 50
    return Row(Key("task", name, f"{id:03}"), text.encode(), number, text, blob)


def main(url: str, name: str, count: int) -> None:
    """Commit until killed."""
    _file.OPEN_MAX_SECONDS = 60.0  # another may have the lock nearly all the time
    backend = SQLiteBackend.open(url)
    claim = Claim({("task", name): 3}, FOREVER, FOREVER)
    stored = backend.exchange(0, Batch(loads=(row(name, 0, 0).key,), not_after=FOREVER)).rows[0]
    number = 0 if stored is None else int(stored.revision)
    while True:
        expected = row(name, number, 0).revision if number else None
        number += 1
        rows = [row(name, number, id) for id in range(count)]
        writes = tuple(Write(row.key, expected, row) for row in rows)
        answer = backend.exchange(0, Batch(writes=writes, claim=claim, not_after=FOREVER))
        if all(isinstance(outcome, Refused) and outcome.transient for outcome in answer.outcomes):
            number -= 1  # another had the lock for long: nothing happened
            continue
        assert answer.outcomes == (Committed(),) * count, answer.outcomes
        assert len(answer.claimed) == min(3, count)
        os.write(1, f"{number}\n".encode())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
