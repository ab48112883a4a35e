"""Run durable jobs under simulated faults: real engines, your own hooks, virtual time, one seed.

    trace = simulate(jobs, scenario, seed=7)

`scenario` is an async function that is given a `Simulation`. Nodes crash, stall and are redeployed,
requests and answers are lost, hooks fail; then the faults end, and all that is due must be done. The
invariants I-1 to I-9 of the specification are checked all the time, and yours with them.
"""

from durable_jobs_simulation.dice import Dice
from durable_jobs_simulation.faults import Faults, swarm
from durable_jobs_simulation.history import Commit
from durable_jobs_simulation.hooks import InjectedFailure
from durable_jobs_simulation.incident import JournalDiffers, Replay, replay
from durable_jobs_simulation.simulation import Invariant, Scenario, Simulation, current, simulate
from durable_jobs_simulation.tasks import Cancelled, SimulationError, sleep
from durable_jobs_simulation.trace import Event, Trace
from durable_jobs_simulation.violation import Violation

__all__ = [
    "Cancelled",
    "Commit",
    "Dice",
    "Event",
    "Faults",
    "InjectedFailure",
    "Invariant",
    "JournalDiffers",
    "Replay",
    "Scenario",
    "Simulation",
    "SimulationError",
    "Trace",
    "Violation",
    "current",
    "replay",
    "simulate",
    "sleep",
    "swarm",
]
