"""`value`: the decorator of the plain values that are made by the dozen for every job; `evolve`: changes one.

To type checkers it is `attrs.frozen`, and it is that at run time too under `python -X dev`, in which the
core's own tests run. Otherwise it leaves the check for assignments out: making a value is then about
three times as fast, and a job makes some forty of them. No value is ever changed once it is made.

Values that a step changes have `slots=False`: a copy with changes is then one of a dictionary.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING or sys.flags.dev_mode:
    from attrs import evolve
    from attrs import frozen as value
else:
    value = partial(attrs.define, unsafe_hash=True)

    def evolve(base: Any, **changes: Any) -> Any:
        """`attrs.evolve`, which is four times as slow, for values with a `__dict__`."""
        fields = getattr(base, "__dict__", None)
        if fields is None:
            return attrs.evolve(base, **changes)
        new = object.__new__(base.__class__)
        new.__dict__ = changed = fields | changes
        assert len(changed) == len(fields), f"{type(base).__name__} has no such field"
        return new


__all__ = ["evolve", "value"]
