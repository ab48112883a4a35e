"""What a test needs of the machine, as marks."""

from __future__ import annotations

import pytest
from support.redis_servers import PROGRAMS

A_REDIS = pytest.mark.skipif(not PROGRAMS, reason="there is no Redis server")
