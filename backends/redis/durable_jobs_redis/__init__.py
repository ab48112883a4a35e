"""The Redis backend: one primary server, Redis from 6.2 on or Valkey, shared by any number of machines.

    redis://user:password@host:6379/0        plain
    rediss://host:6379/0                     TLS; ssl_ca_certs, ssl_certfile, ssl_keyfile, ssl_check_hostname
    unix:///run/redis.sock?db=0              a socket of this machine

Options, in the URL: `namespace`, for several stores in one database; `shards`, in how many parts a store is
made, for a Cluster to come; `timeout` of a call and `connect_timeout`, in seconds; `wait_replicas=1` and
`wait_aof=1`, to acknowledge a write only when so many replicas, or the server's own log, have confirmed it
within `wait_ms`.

What an acknowledgement is worth depends on the server's settings; `health()` says it.
"""

from __future__ import annotations

from durable_jobs_redis._backend import RedisBackend
from durable_jobs_redis._errors import CallRefusedError, NewerStoreError, RedisStoreError, StoreLostError

__all__ = ["CallRefusedError", "NewerStoreError", "RedisBackend", "RedisStoreError", "StoreLostError"]
