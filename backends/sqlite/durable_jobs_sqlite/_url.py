"""The URLs of stores: `sqlite:///relative.db`, `sqlite:////absolute/path.db?synchronous=normal`."""

from __future__ import annotations

import os
from urllib.parse import parse_qsl, unquote

from attrs import frozen

from durable_jobs_core.errors import StorageError

_OPTIONS = {"synchronous": ("full", "normal")}


@frozen
class Location:
    """Which file, and how an acknowledgement is to be understood (`full` or `normal`)."""

    path: str
    synchronous: str


def parse(url: str) -> Location:
    """The location a URL names; raises `StorageError` for one that names none.

    A relative path is taken from the current directory, and links are followed, now: SQLite keeps its log
    beside the file itself. `%3F` stands for a `?` in a path.
    """
    rest, _, query = url.partition("?")
    place = rest.removeprefix("sqlite://")
    if ":memory:" in place:
        raise StorageError(f"{url!r}: SQLite in memory is not offered; use memory://")
    path = unquote(place.removeprefix("/"))
    if not place.startswith("/") or not path or "\0" in path:
        wanted = "sqlite:///relative.db or sqlite:////absolute/path.db"
        raise StorageError(f"{url!r} names no file; it has to look like {wanted}")
    try:
        real = os.path.realpath(path)
        real.encode()  # as SQLite wants it; the file system may want another encoding
    except UnicodeEncodeError as error:
        raise StorageError(f"{url!r}: no file can have that name here: {error.reason}") from error
    return Location(real, **_options(url, query))


def _options(url: str, query: str) -> dict[str, str]:
    options = {name: values[0] for name, values in _OPTIONS.items()}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in _OPTIONS:
            raise StorageError(f"{url!r}: unknown option {name!r}; known: {', '.join(_OPTIONS)}")
        if value not in _OPTIONS[name]:
            allowed = " or ".join(_OPTIONS[name])
            raise StorageError(f"{url!r}: {name} is {allowed}, not {value!r}")
        options[name] = value
    return options
