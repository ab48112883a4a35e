"""What an acknowledgement means here: read from the server, and said in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from durable_jobs_redis._url import Location
from durable_jobs_redis._wire import Wire

_SETTINGS = (
    "appendonly",
    "appendfsync",
    "no-appendfsync-on-rewrite",
    "maxmemory",
    "maxmemory-policy",
    "save",
)
_LOGS = {
    "always": "each write is synced to the append-only file before it is acknowledged",
    "everysec": "the append-only file is synced once a second",
    "no": "the append-only file is synced when the system likes",
}
_SYNC_WARNINGS = {
    "appendfsync everysec": "the end of the server, even by a kill, may take back the last two seconds of"
    " what was acknowledged",
    "appendfsync no": "the end of the machine may take back what was acknowledged last",
    "no-appendfsync-on-rewrite yes": "while the server writes a snapshot, or its log anew, nothing is synced:"
    " the end of the machine may take back what was acknowledged meanwhile",
}
_NO_LOG = "appendonly no: a restart of the server takes back what was acknowledged since its last snapshot"
_NO_CONFIG = "CONFIG is not allowed here: the server does not say whether an acknowledged request survives it"
_REPLICAS = (
    "the server has replicas, and a failover may take back what was acknowledged last; ?wait_replicas=1"
    " waits for one"
)


class Settings(NamedTuple):
    """What the server says of itself; `config` is empty if it does not."""

    config: Mapping[str, str]
    info: Mapping[str, str]

    @property
    def version(self) -> tuple[int, ...]:
        """The version of Redis that it is, or says to be compatible with."""
        return tuple(int(part) for part in self.info.get("redis_version", "0").split(".") if part.isdecimal())


def read(wire: Wire) -> Settings:
    """Ask the server. Raises `RedisStoreError`; that CONFIG is not allowed is no error."""
    info, *found = wire.call(("INFO",), *(("CONFIG", "GET", name) for name in _SETTINGS))
    config: dict[str, str] = {}
    for answer in found:
        if isinstance(answer, list):
            words = [word.decode(errors="replace") for word in answer]
            config.update(zip(words[::2], words[1::2], strict=True))
        elif answer.__cause__ is not None:  # the connection has ended, which says nothing of CONFIG
            raise answer
    lines = (line.partition(":") for line in info.decode(errors="replace").splitlines())
    return Settings(config, {name: text for name, _, text in lines})


def durability(settings: Settings, location: Location) -> str:
    """What an acknowledgement means here, in words."""
    config = settings.config
    if not config:
        log = "the server does not say what it keeps"
    elif config.get("appendonly") == "yes":
        log = _LOGS.get(config.get("appendfsync", ""), "there is an append-only file")
    else:
        log = "snapshots only" if config.get("save") else "none: lost with the server"
    waits: Sequence[str] = [
        *(["its append-only file has to confirm each write (WAITAOF)"] if location.aof else []),
        *([f"{location.replicas} replicas have to confirm each write"] if location.replicas else []),
    ]
    return "; ".join([log, *waits])


def warnings(settings: Settings, location: Location) -> list[str]:
    """What may be lost, and how."""
    config, found = settings.config, []
    if not config:
        found.append(_NO_CONFIG)
    elif config.get("appendonly") != "yes":
        found.append(_NO_LOG)
    elif not location.aof:
        set_so = {f"{name} {value}" for name, value in config.items()}
        found += [f"{setting}: {why}" for setting, why in _SYNC_WARNINGS.items() if setting in set_so]
    policy = config.get("maxmemory-policy", "")
    if policy.startswith("allkeys"):
        found.append(
            f"maxmemory-policy {policy}: when its memory is full, the server throws instances away; it has"
            " to be noeviction"
        )
    if settings.info.get("connected_slaves", "0") != "0" and not location.replicas:
        found.append(_REPLICAS)
    return found


def check(settings: Settings, location: Location) -> str | None:
    """Why what the URL asks for cannot be had here; `None` if it can."""
    if settings.info.get("role", "master") != "master":
        return "it is a replica, and only a primary can be used"
    if location.aof and settings.version < (7, 2):
        return f"wait_aof needs Redis 7.2; this is {settings.info.get('redis_version')}"
    if location.aof and settings.config.get("appendonly", "yes") != "yes":
        return "wait_aof needs an append-only file: CONFIG SET appendonly yes"
    if location.aof and settings.config.get("appendfsync") == "no":
        return (
            "wait_aof needs appendfsync everysec or always: with no the server never says that it has synced"
        )
    return None
