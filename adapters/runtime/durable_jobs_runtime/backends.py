"""Backends by URL: the scheme names an entry point of the group `durable_jobs.backends`."""

from __future__ import annotations

import os
from importlib.metadata import MetadataPathFinder, entry_points

from durable_jobs_core.backend import Backend
from durable_jobs_core.checks import without_secrets
from durable_jobs_core.errors import StorageError

GROUP = "durable_jobs.backends"
_REDIS = "durable-jobs-redis"
_PACKAGES = {
    "memory": "durable-jobs-memory",
    "sqlite": "durable-jobs-sqlite",
    "redis": _REDIS,
    "rediss": _REDIS,
    "unix": _REDIS,
}
"""Ours, for who has not installed them."""


def open_backend(url: str) -> Backend:
    """Open the backend that a URL names: `memory://`, `sqlite:///jobs.db`, or one you installed.

    An entry point is a class with a classmethod `open(url)`. Blocks. Raises `StorageError` for what is no
    URL, for a scheme that no installed package serves, and what the backend raises.
    """
    if url != url.strip():
        shown = repr(without_secrets(url))
        raise StorageError(f"{shown} begins or ends with white space: expected one such as sqlite:///jobs.db")
    scheme, separator, _ = url.partition("://")
    MetadataPathFinder().invalidate_caches()  # a folder that could not be read is remembered as empty
    found = {point.name: point for point in entry_points(group=GROUP)}
    if not separator or scheme not in found:
        _check_files()
        raise StorageError(_not_found(url, scheme, bool(separator), sorted(found)))
    try:
        backend_class = found[scheme].load()
    except ImportError as error:
        raise StorageError(f"the backend for {scheme}:// cannot be imported: {error}") from error
    backend: Backend = backend_class.open(url)
    return backend


def _check_files() -> None:
    """Raise if no more files can be opened: then the metadata of packages is not read, and nobody says so."""
    try:
        open(os.devnull).close()
    except OSError as error:
        raise StorageError(f"no one can tell which backends are installed: {error.strerror}") from error


def _not_found(url: str, scheme: str, is_url: bool, found: list[str]) -> str:
    shown = repr(without_secrets(url))
    known = ", ".join(f"{name}://" for name in found) or "none"
    if not is_url:
        return f"{shown} is no URL: expected one such as sqlite:///jobs.db; installed: {known}"
    package = _PACKAGES.get(scheme.partition("+")[0])
    hint = "" if package is None else f"; {scheme}:// comes with the package {package}"
    return f"no backend is installed for {shown}; installed: {known}{hint}"
