"""The harness itself: with a wrong one, what the other checks say would mislead."""

from __future__ import annotations

from typing import Any

from durable_jobs_conformance.check import HARNESS, new_port, registered_for_harnesses
from durable_jobs_conformance.harness import Harness, Store
from durable_jobs_conformance.port import Broken, Port

_METHODS = ("lane", "exchange", "scan", "wait", "health", "close")


@registered_for_harnesses(HARNESS)
def fresh_stores_are_empty_and_every_handle_is_another(harness: Harness) -> None:
    store = harness.fresh()
    if not isinstance(store, Store):
        raise Broken("a Store of fresh()", store)
    try:
        _check_store(harness, store)
        with new_port(harness) as other:
            other.holds(other.store is not store, "another Store of each fresh()", "the same one")
            other.same(other.load("a"), None, "a fresh store is empty, whatever is in another")
    finally:
        store.discard()


def _check_store(harness: Harness, store: Store) -> None:
    written = vars(Store)
    needed = ["open"] + ["damage"] * ("damage" in harness.can)
    missing = [name for name in needed if getattr(type(store), name) is written[name]]
    if missing:
        raise Broken(f"{type(store).__name__}.{missing[0]}, which is to be written", "that of Store")
    _check_handle(store.open())
    port = Port(store)
    try:
        other = port.again()
        port.holds(port.backend is not other.backend, "another handle of each open()", "the same one")
        port.same(port.load("a"), None, "a fresh store is empty")
        port.create("a")
    finally:
        port.close_all()


def _check_handle(handle: Any) -> None:
    missing = [name for name in _METHODS if not callable(getattr(handle, name, None))]
    if missing:
        raise Broken(f"a backend of open(), with {', '.join(_METHODS)}", f"{handle!r} without {missing}")
    lanes, key = getattr(handle, "lanes", None), Port.key("a")
    if type(lanes) is not int or lanes < 1:
        raise Broken("lanes: a number from 1", lanes)
    lane = handle.lane(key)
    if type(lane) is not int or not 0 <= lane < lanes:
        raise Broken(f"lane({key}): a number from 0, below {lanes}", lane)
    salted = [handle.lane(Port.key(_Salted(id))) for id in _IDS]
    if salted != [handle.lane(Port.key(id)) for id in _IDS]:
        raise Broken("lane(key): the same in every process", "another one where hash() differs")
    handle.close()


_IDS = tuple(map(str, range(64)))


class _Salted(str):
    """As text is in another process, its `hash()` is another."""

    def __hash__(self) -> int:
        return hash((str(self), "salt"))
