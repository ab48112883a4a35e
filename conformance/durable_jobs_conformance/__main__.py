"""`python -m durable_jobs_conformance module:HARNESS ... [--json FILE]`: certify, print one table.

Exits with 1 if a check failed, or if a store could not be had here: that is said as `not run`."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path

from durable_jobs_conformance import Harness, certify
from durable_jobs_conformance.report import Report, table


def main(arguments: list[str] | None = None) -> int:
    """Certify the harnesses named."""
    parser = argparse.ArgumentParser(prog="durable_jobs_conformance", description=__doc__)
    parser.add_argument("harness", nargs="+", help="module:NAME of a Harness")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the reports there")
    asked = parser.parse_args(arguments)
    reports = [_report(_find(name)) for name in asked.harness]
    print(table(reports))
    if asked.json is not None:
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        found = {"backends": {report.name: report.to_json() for report in reports}}
        asked.json.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    return int(any(report.failed or report.missing for report in reports))


def _report(harness: Harness) -> Report:
    if harness.missing is not None:
        return Report(harness.name, 0, (), (), harness.missing)
    return certify(harness)


def _find(name: str) -> Harness:
    module, _, attribute = name.partition(":")
    found = getattr(importlib.import_module(module), attribute or "HARNESS")
    if not isinstance(found, Harness):
        raise SystemExit(f"{name} is a {type(found).__name__}, not a Harness")
    return found


if __name__ == "__main__":
    sys.exit(main())
