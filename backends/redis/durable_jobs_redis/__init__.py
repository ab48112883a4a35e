"""The Redis backend: Redis from 6.2 on or Valkey, a primary or a Cluster, shared by any number of machines.

    redis://user:password@host:6379/0        plain
    rediss://host:6379/0                     TLS; ssl_ca_certs, ssl_certfile, ssl_keyfile, ssl_check_hostname
    unix:///run/redis.sock?db=0              a socket of this machine
    redis+cluster://host:6379,host:6379      a Cluster, by some of its nodes; or rediss+cluster
    redis+sentinel://host:26379,host:26379/service/0
                                             the primary that Sentinels name; or rediss+sentinel;
                                             sentinel_username, sentinel_password, if they ask for them

Options, in the URL: `namespace`, for several stores in one database (`durable-jobs`); `shards`, in how many
parts a store is made, to be spread over the nodes of a Cluster (16, or 1 on a server of its own); `timeout`
of a call and `connect_timeout`, in seconds (5 and 2); `wait_replicas=1` and `wait_aof=1`, to acknowledge a
write only when so many replicas, or the server's own log, have confirmed it within `wait_ms` (2,000).

What an acknowledgement is worth depends on the server's settings; `health()` says it.

In a Cluster a shard is one slot, and is never split: make some times as many as there may be nodes. An
exchange goes to each node that it concerns at once, a lane a node (`lanes` asks for another number). While a
slot is being moved its shard is refused, since its keys are on two nodes; afterwards it is followed. After a
failover the new primary is found, from the other nodes or from the Sentinels; what the old one had not
replicated is lost. The clocks of the nodes have to agree: each judges by its own.

A user needs few rights (ACL): the keys and channels of its namespace, `~{durable-jobs*` and
`&{durable-jobs*`, and the commands evalsha, eval, info, config|get, hmget, get, set, hset, smembers,
zrangebylex, subscribe, publish, setrange, time, del, exists, dump, zadd, zrank, zrem, sadd, srem, hdel,
zscore, zrangebyscore, zrange; in a Cluster cluster|slots; in a database other than 0 select; wait or waitaof
for what the URL asks for.
"""

from __future__ import annotations

from durable_jobs_redis._backend import RedisBackend
from durable_jobs_redis._errors import CallRefusedError, NewerStoreError, RedisStoreError, StoreLostError

__all__ = ["CallRefusedError", "NewerStoreError", "RedisBackend", "RedisStoreError", "StoreLostError"]
