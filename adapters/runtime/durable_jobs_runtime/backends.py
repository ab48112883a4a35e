"""Backends by URL: the scheme names an entry point of the group `durable_jobs.backends`."""

from __future__ import annotations

from importlib.metadata import entry_points

from durable_jobs_core.backend import Backend
from durable_jobs_core.errors import StorageError
from durable_jobs_runtime.arguments import without_password

GROUP = "durable_jobs.backends"


def open_backend(url: str) -> Backend:
    """Open the backend that a URL names: `memory://`, `sqlite:///jobs.db`, or one you installed.

    An entry point is a class with a classmethod `open(url)`. Blocks. Raises `StorageError` for an
    unknown scheme, and what the backend raises.
    """
    scheme, separator, _ = url.partition("://")
    found = {point.name: point for point in entry_points(group=GROUP)}
    if not separator or scheme not in found:
        known = ", ".join(sorted(f"{name}://" for name in found)) or "none"
        raise StorageError(f"no backend is installed for {without_password(url)!r}; installed: {known}")
    try:
        backend_class = found[scheme].load()
    except ImportError as error:
        raise StorageError(f"the backend for {scheme}:// cannot be imported: {error}") from error
    backend: Backend = backend_class.open(url)
    return backend
