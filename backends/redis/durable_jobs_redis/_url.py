"""The URLs of stores: `redis://host:6379/0?namespace=orders`, `rediss://…`, `unix:///run/redis.sock`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from attrs import frozen

from durable_jobs_core.errors import StorageError

SHARDS_MAX = 4_096
_SPACE = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@frozen(kw_only=True)
class Location:
    """Which store, and how to reach it.

    `kind`: the scheme; `server`: for people, without passwords; `options`: of the connection; `shards`:
    `None` for as many as it was made with; `replicas`, `aof`: how many replicas, and whether the server's
    own log, have to confirm a write within `wait_ms` before it counts as committed.
    """

    kind: str
    server: str
    options: Mapping[str, Any]
    database: int
    namespace: str
    shards: int | None
    replicas: int
    aof: bool
    wait_ms: int


def parse(url: str) -> Location:
    """The location a URL names; raises `StorageError` for one that is not understood."""
    try:
        parts = urlsplit(url)
        port, asked = parts.port or 6379, dict(parse_qsl(parts.query, keep_blank_values=True))
    except ValueError as error:
        raise StorageError(f"{_shown(url)} is no URL: {error}") from error
    values = {name: default for name, (default, _) in _OPTIONS.items()}
    for name, text in asked.items():
        if name not in _OPTIONS:
            raise StorageError(f"{_shown(url)}: unknown option {name!r}; known: {', '.join(_OPTIONS)}")
        values[name] = _read(url, name, text)
    database = values.pop("db") if parts.scheme == "unix" else _database(url, parts)
    options: dict[str, Any] = {
        "db": database,
        "username": unquote(parts.username) if parts.username else None,
        "password": unquote(parts.password) if parts.password else None,
        "socket_timeout": values["timeout"],
        "socket_connect_timeout": values["connect_timeout"],
    }
    if parts.scheme == "unix":
        server = options["path"] = unquote(parts.path)
        if not parts.path.strip("/"):
            raise StorageError(f"{_shown(url)} names no socket; it has to look like unix:///run/redis.sock")
    else:
        host = parts.hostname or "localhost"
        server = f"{host}:{port}"
        options |= {"host": host, "port": port}
    if parts.scheme == "rediss":
        options |= {name: values[name] for name in _TLS if values[name] is not None}
    return Location(
        kind=parts.scheme,
        server=f"{parts.scheme}://{server}",
        options=options,
        database=database,
        namespace=values["namespace"],
        shards=values["shards"],
        replicas=values["wait_replicas"],
        aof=values["wait_aof"],
        wait_ms=values["wait_ms"],
    )


def _shown(url: str) -> str:
    """A URL without what may be a password."""
    return repr(re.sub(r"//[^/@]*@", "//…@", url))


def _database(url: str, parts: SplitResult) -> int:
    text = parts.path.strip("/") or "0"
    if not (text.isascii() and text.isdecimal()):
        raise StorageError(f"{_shown(url)}: a database has a number, not {text!r}")
    return int(text)


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


def _flag(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError("is 0 or 1")
    return text == "1"


_TLS = "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname"
_OPTIONS: dict[str, tuple[Any, Callable[[str], Any]]] = {
    "namespace": ("durable-jobs", _space),
    "shards": (None, _number(1, SHARDS_MAX)),
    "timeout": (5.0, _seconds),
    "connect_timeout": (2.0, _seconds),
    "wait_replicas": (0, _number(0, 100)),
    "wait_aof": (False, _flag),
    "wait_ms": (1_000, _number(1, 60_000)),
    "db": (0, _number(0, 65_535)),
    **dict.fromkeys(_TLS[:3], (None, str)),
    "ssl_check_hostname": (None, _flag),
}
