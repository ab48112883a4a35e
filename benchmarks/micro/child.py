"""Makes operations when told to: `python -m benchmarks.micro.child`, in a process that valgrind watches.

    < the names as a line of JSON        > 3 20      the operation of that number, twenty times      < done

Everything is made and run a few times before, and the garbage collector is off: the operation is counted.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable

from benchmarks.micro.operations import operations

WARM = 20
"""Calls after which the interpreter has specialised the code, and caches are filled."""


def _repeat(call: Callable[[], object], count: int) -> None:
    for _ in range(count):
        call()


def main() -> None:
    """Obey until there are no more orders."""
    found = operations()
    for operation in found:
        _repeat(operation.call, max(2, WARM // operation.times))
    gc.collect()
    gc.freeze()
    gc.disable()
    print(json.dumps([[operation.name, operation.times] for operation in found]), flush=True)
    for line in sys.stdin:
        number, count = map(int, line.split())
        _repeat(found[number].call, count)
        print("done", flush=True)


if __name__ == "__main__":
    main()
