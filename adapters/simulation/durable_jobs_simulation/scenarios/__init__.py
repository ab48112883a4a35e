"""Our own scenarios: one a kind, each with a ledger of what its hooks were called with.

They do to the library what its users may do, all at once, and hold it to what SPEC promises them.
"""

from durable_jobs_simulation.case import MakeCase
from durable_jobs_simulation.scenarios.continuous import tokens
from durable_jobs_simulation.scenarios.debounce import webhooks
from durable_jobs_simulation.scenarios.task import orders

CASES: dict[str, MakeCase] = {"tokens": tokens, "webhooks": webhooks, "orders": orders}

__all__ = ["CASES", "orders", "tokens", "webhooks"]
