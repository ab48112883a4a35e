"""What a test needs of the machine, as marks."""

from __future__ import annotations

import pytest
from support.redis_servers import PROGRAMS, find

A_REDIS = pytest.mark.skipif(not any(map(find, PROGRAMS)), reason="there is no Redis server")
