"""Certifies a storage backend of durable-jobs: `certify(harness) -> Report`.

The author of a backend writes a `Store` (how to open a handle on it, and what else it can do) and a
`Harness` around it, and makes one call. What runs, each with a name and the rule it shows (R-1 to R-10
of `durable_jobs_core.backend`):

* *examples* of every rule, plain functions;
* *stateful*: random batches over two handles, held against a dictionary, shrunk when they fail;
* *histories*: threads on several handles at once, whose commits must form one chain a key;
* for stores that are durable, the same of several processes; a process, or a server, that is killed in the
  middle, and what had been told.

Levels, each with the ones before:

| level | means |
| --- | --- |
| `none` | a check of the base failed: do not use it |
| `base` | all that needs no capability passed: correct while the process lives |
| `durable` | and what was acknowledged survives a crash of the process; processes may share it |
| `complete` | and a damaged row is told as such and disturbs no other |

A capability is what a `Store` says it can do; the checks of one that it cannot are skipped, and the
report says so. A level is lost by a failure and by a skipped capability alike.

It is blocking. From trio or asyncio call it in a thread; with pytest, `@pytest.mark.parametrize("check",
checks(harness), ids=str)` makes a test of each check.
"""

from durable_jobs_conformance.certify import certify, checks
from durable_jobs_conformance.check import Broken, Check
from durable_jobs_conformance.harness import Capability, Harness, Store
from durable_jobs_conformance.port import Port
from durable_jobs_conformance.report import CONTRACT_VERSION, Failed, Level, Report

__all__ = [
    "CONTRACT_VERSION",
    "Broken",
    "Capability",
    "Check",
    "Failed",
    "Harness",
    "Level",
    "Port",
    "Report",
    "Store",
    "certify",
    "checks",
]
