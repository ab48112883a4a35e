"""`value`: the decorator of the plain values that are made by the dozen for every job.

To type checkers it is `attrs.frozen`, and it is that at run time too under `python -X dev`, in which the
core's own tests run. Otherwise it leaves the check for assignments out: making a value is then about
three times as fast, and a job makes some forty of them. No value is ever changed once it is made.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from attrs import frozen as value
elif sys.flags.dev_mode:
    value = attrs.frozen
else:
    value = partial(attrs.define, unsafe_hash=True)

__all__ = ["value"]
