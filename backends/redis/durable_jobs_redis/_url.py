"""The URLs of stores, by their scheme; a TLS form of each has `rediss` in place of `redis`.

redis://host:6379/0?namespace=orders
unix:///run/redis.sock?db=0
redis+cluster://host:6379,host:6379?shards=64        some of the nodes; the others are asked for
redis+sentinel://host:26379,host:26379/service/0     Sentinels, which know the primary of a service
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from itertools import starmap
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from attrs import field, frozen

from durable_jobs_core.checks import without_secrets
from durable_jobs_core.errors import StorageError

SHARDS_MAX = 4_096
SHARDS_OF_A_CLUSTER = 16
_SPACE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_PORTS = {"sentinel": 26_379}
_SCHEMES = ("redis", "rediss", "unix", "redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel")

Host = tuple[str, int]


@frozen(kw_only=True)
class Location:
    """Which store, and how to reach it.

    `kind`: `redis`, `rediss` or `unix`, how a server is talked to; `form`: `cluster`, `sentinel`, or
    nothing for a server of its own; `hosts`: those of the URL; `service`: what the Sentinels call it;
    `server`: for people, without passwords; `options`: of a connection, and `sentinel_options` of one to a
    Sentinel; `shards`: `None` for as many as it was made with; `lanes`: `None` for one a node;
    `replicas`, `aof`: how many replicas, and whether the server's own log, have to confirm a write within
    `wait_ms` before it counts as committed.
    """

    kind: str
    form: str
    server: str
    hosts: tuple[Host, ...]
    service: str
    options: Mapping[str, Any] = field(repr=False)  # a stack with values is to show no password
    sentinel_options: Mapping[str, Any] = field(repr=False)
    database: int
    namespace: str
    shards: int | None
    lanes: int | None
    replicas: int
    aof: bool
    wait_ms: int


def parse(url: str) -> Location:
    """The location a URL names; raises `StorageError` for one that is not understood."""
    authority, parts, asked = _split(url)
    kind, _, form = parts.scheme.partition("+")
    values = _values(url, kind, form, asked)
    service, database = _path(url, kind, form, parts)
    shared: dict[str, Any] = {
        "socket_timeout": values["timeout"],
        "socket_connect_timeout": values["connect_timeout"],
    }
    if kind == "rediss":
        shared |= {name: values[name] for name in _TLS if values[name] is not None}
    sentinel = {"username": values["sentinel_username"], "password": values["sentinel_password"]}
    own: dict[str, Any] = {}
    hosts: tuple[Host, ...] = ()
    if kind == "unix":
        where = own["path"] = unquote(parts.path)
        database = values["db"]
    else:
        hosts = _hosts(url, form, authority)
        where = ",".join(starmap(address, hosts)) + (f"/{service}" if service else "")
        if not form:
            own["host"], own["port"] = hosts[0]
    return Location(
        kind=kind,
        form=form,
        server=f"{parts.scheme}://{where}",
        hosts=hosts,
        service=service,
        options={**shared, **own, **_user(authority), "db": database},
        sentinel_options={**shared, **sentinel},
        database=database,
        namespace=values["namespace"],
        shards=values["shards"],
        lanes=values["lanes"],
        replicas=values["wait_replicas"],
        aof=values["wait_aof"],
        wait_ms=values["wait_ms"],
    )


def address(host: str, port: int) -> str:
    """A host as in a URL: that of IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _split(url: str) -> tuple[str, SplitResult, dict[str, str]]:
    """The hosts with who logs in, the URL without them, and its options."""
    scheme, slashes, rest = url.partition("//")
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    try:
        # Without its hosts: to newer Pythons a [::1] is wrong in a list of them.
        parts = urlsplit(f"{scheme}{slashes}{rest[len(authority) :]}")
        asked = dict(parse_qsl(parts.query, keep_blank_values=True))
    except ValueError as error:
        raise StorageError(f"{_shown(url)} is no URL: {error}") from error
    if "@" in parts.path and parts.scheme != "unix":
        raise StorageError(f"{_shown(url)} is no URL: in a password, / is written %2F")
    if parts.scheme not in _SCHEMES:
        raise StorageError(f"{_shown(url)}: the scheme has to be one of {', '.join(_SCHEMES)}")
    return authority, parts, asked


def _values(url: str, kind: str, form: str, asked: Mapping[str, str]) -> dict[str, Any]:
    """All options, as given or by default; one that would do nothing is refused."""
    values = {name: default for name, (default, _) in _OPTIONS.items()}
    for name, text in asked.items():
        if name not in _OPTIONS:
            raise StorageError(f"{_shown(url)}: unknown option {name!r}; known: {', '.join(_OPTIONS)}")
        where, there = _ONLY.get(name, ("", ""))
        if there not in ("", kind, form):
            raise StorageError(f"{_shown(url)}: {name} is for {where} only")
        values[name] = _read(url, name, text)
    timeout = values["timeout"]
    if (values["wait_replicas"] or values["wait_aof"]) and values["wait_ms"] >= 1_000 * timeout:
        # or the connection is given up before it can tell who has confirmed
        raise StorageError(f"{_shown(url)}: wait_ms has to be less than timeout, {timeout:g} s")
    return values


def _hosts(url: str, form: str, authority: str) -> tuple[Host, ...]:
    names = authority.rpartition("@")[2].split(",")
    if len(names) > 1 and not form:
        raise StorageError(f"{_shown(url)}: several hosts are for redis+cluster:// and redis+sentinel://")
    try:
        found = [urlsplit(f"//{name}") for name in names]
        hosts = [(one.hostname or "localhost", one.port or _PORTS.get(form, 6_379)) for one in found]
        for host, _ in hosts:
            host.encode("idna")  # as who looks it up does
    except ValueError:  # which may tell a password
        a_host = "name:port, each part of its name 1 to 63 letters, its port at most 65535"
        raise StorageError(f"{_shown(url)} is no URL: a host is {a_host}") from None
    return tuple(hosts)


def _user(authority: str) -> dict[str, str | None]:
    user, _, _ = authority.rpartition("@")
    name, _, password = user.partition(":")
    return {"username": unquote(name) or None, "password": unquote(password) or None}


def _path(url: str, kind: str, form: str, parts: SplitResult) -> tuple[str, int]:
    """The service and the number of the database that a path names."""
    path = parts.path.strip("/")
    if kind == "unix":
        if not path:
            raise StorageError(f"{_shown(url)} names no socket; it has to look like unix:///run/redis.sock")
        return "", 0
    service = ""
    if form == "sentinel":
        service, _, path = path.partition("/")
        if not service:
            raise StorageError(f"{_shown(url)} names no service; it has to look like {_SENTINEL}")
    text = path or "0"
    if not (text.isascii() and text.isdecimal()):
        raise StorageError(f"{_shown(url)}: a database has a number, not {text!r}")
    if form == "cluster" and int(text):
        raise StorageError(f"{_shown(url)}: a Cluster has database 0 only; ?namespace= tells stores apart")
    return unquote(service), int(text)


_SENTINEL = "redis+sentinel://host:26379,host:26379/service"


def _shown(url: str) -> str:
    return repr(without_secrets(url))


def _read(url: str, name: str, text: str) -> Any:
    _, reader = _OPTIONS[name]
    try:
        return reader(text)
    except ValueError as error:
        raise StorageError(f"{_shown(url)}: {name} {error}, not {text!r}") from error


def _number(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and least <= int(text) <= most):
            raise ValueError(f"is a number from {least} to {most}")
        return int(text)

    return read


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 600:
        raise ValueError("is a number of seconds, more than 0 and at most 600")
    return seconds


def _space(text: str) -> str:
    if not _SPACE.fullmatch(text):
        raise ValueError("is 1 to 64 letters, digits, dots, dashes or underscores")
    return text


def _file(text: str) -> str:
    if not os.path.isfile(text):  # else an error of TLS, which names no file
        raise ValueError("is a file that is there")
    return text


def _flag(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError("is 0 or 1")
    return text == "1"


_TLS = "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname"
_ONLY = {
    "lanes": ("redis+cluster://", "cluster"),
    "db": ("unix:// (redis://host/1 names one in its path)", "unix"),
    **dict.fromkeys(("sentinel_username", "sentinel_password"), ("redis+sentinel://", "sentinel")),
    **dict.fromkeys(_TLS, ("rediss://", "rediss")),
}
"""Options that not all URLs have: where they belong, and the kind or form that says so."""
_OPTIONS: dict[str, tuple[Any, Callable[[str], Any]]] = {
    "namespace": ("durable-jobs", _space),
    "shards": (None, _number(1, SHARDS_MAX)),
    "lanes": (None, _number(1, 64)),
    "timeout": (5.0, _seconds),
    "connect_timeout": (2.0, _seconds),
    "wait_replicas": (0, _number(0, 100)),
    "wait_aof": (False, _flag),
    "wait_ms": (2_000, _number(1, 60_000)),  # Redis 8 syncs a log by the second 1.01 s after the last time
    "db": (0, _number(0, 65_535)),
    **dict.fromkeys(("sentinel_username", "sentinel_password"), (None, str)),
    **dict.fromkeys(_TLS[:3], (None, _file)),
    "ssl_check_hostname": (True, _flag),
}
