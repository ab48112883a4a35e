"""Certify a backend: run every check of the port on it, and print one table.

    python -m durable_jobs_conformance certify_file_backend:HARNESS

The guide is docs/write-a-backend.md. A check that takes more than two minutes shows where each thread is.
The exit code is 0 if all passed; 1 if a check failed, or a store could not be had here (`not run`); 2 if what
was named is no harness, or FILE cannot be written.
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib
import json
import shutil
import sys
from itertools import count
from pathlib import Path

from durable_jobs_conformance import Check, Harness, certify, checks
from durable_jobs_conformance.report import Report, table

PATIENCE_SECONDS = 120.0
"""Who waits so long for a check is shown where each thread is: a backend may never return."""
_STDERR = 2


def main(arguments: list[str] | None = None) -> int:
    """Certify the harnesses named."""
    parser = argparse.ArgumentParser(
        prog="python -m durable_jobs_conformance",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("harness", nargs="+", help="module:NAME of a Harness, or several")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the reports there too")
    asked = parser.parse_args(arguments)
    try:
        harnesses = [_find(name) for name in asked.harness]
        _check_names([harness.name for harness in harnesses])
        if asked.json is not None:
            asked.json.parent.mkdir(parents=True, exist_ok=True)
            asked.json.open("a").close()  # now, not when all has run
    except (_Wrong, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    reports = [_report(harness) for harness in harnesses]
    print(table(reports))
    if asked.json is not None:
        found = {"backends": {report.name: report.to_json() for report in reports}}
        asked.json.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return int(any(report.failed or report.missing for report in reports))


def _report(harness: Harness) -> Report:
    if harness.missing is not None:
        return Report(harness.name, 0, (), (), harness.missing)
    total, begun = len(checks(harness)), count(1)
    width = shutil.get_terminal_size().columns - 1

    def progress(check: Check) -> None:
        faulthandler.dump_traceback_later(PATIENCE_SECONDS, file=_STDERR)
        _over(f"{harness.name}  {next(begun)} of {total}  {check}"[:width])

    try:
        return certify(harness, progress=progress)
    finally:
        faulthandler.cancel_dump_traceback_later()
        _over("")


def _over(line: str) -> None:
    """Write over the line of the terminal, if it is one."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{line}")
        sys.stderr.flush()


class _Wrong(Exception):
    """What was used wrongly, in a line."""


def _check_names(names: list[str]) -> None:
    """A report is known by its name: of two that share one, one would be lost."""
    if len(set(names)) < len(names):
        raise _Wrong(f"expected harnesses of different names, got {', '.join(names)}")


class _NoHarness(_Wrong):
    def __init__(self, name: str, why: str) -> None:
        expected = "expected module:NAME of a Harness, as in my_backend.certify:HARNESS"
        super().__init__(f"{name}: {why}; {expected}")


def _find(name: str) -> Harness:
    """What `module:NAME` names. What the module raises comes as it is."""
    module_name, _, attribute = name.partition(":")
    attribute = attribute or "HARNESS"
    if not module_name or module_name.startswith("."):
        raise _NoHarness(name, "no module is named")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the module is there, and misses another
        raise _NoHarness(name, f"there is no module {error.name} to import") from None
    if not hasattr(module, attribute):
        raise _NoHarness(name, f"{module_name} has no {attribute}")
    found = getattr(module, attribute)
    if not isinstance(found, Harness):
        raise _NoHarness(name, f"{attribute} is of type {type(found).__name__}")
    return found


if __name__ == "__main__":
    sys.exit(main())
