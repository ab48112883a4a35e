"""The exhaustive checker: every order of events, and every crash point, of small scopes.

    python -m durable_jobs_simulation check [SCOPE ...]

The engines, the steps, the hooks and the store are those of the simulation, and so are the observer that
checks I-1 to I-7 and I-9 and the look at what engines hold; what a simulation draws by chance is enumerated
here. Two states are one if they go on alike (`canonical`); what the observer remembers of the past is not
compared, only what became of each event (`ledger`). I-8 is tried from one new state in eight, of large scopes
in 64: without faults it must come to rest.

A digest has sixteen bytes: two of `n` states share one by a chance below n²/2¹²⁹, of five million 4 in 10²⁶.
A scope that was cut off, by states, time or memory, is not exhausted, and is said not to be.
"""

from durable_jobs_simulation.exhaustive.scope import Scope, budgets
from durable_jobs_simulation.exhaustive.scopes import LARGE, SCOPES, SMALL
from durable_jobs_simulation.exhaustive.search import Report, check

__all__ = ["LARGE", "SCOPES", "SMALL", "Report", "Scope", "budgets", "check"]
