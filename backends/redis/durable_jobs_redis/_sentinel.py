"""Sentinels: they are asked for the primary of a service each time a connection is opened, so also after a
failover, which ends the connections to the old one or has it refuse with READONLY."""

from __future__ import annotations

import threading
from typing import Any

from durable_jobs_redis._errors import CallRefusedError, RedisStoreError
from durable_jobs_redis._url import Location, address
from durable_jobs_redis._wire import Options, Wire


class Sentinels:
    """Those that a URL names."""

    def __init__(self, location: Location) -> None:
        self._location = location
        self._lock = threading.Lock()
        self._wires = [self._wire(name, port) for name, port in location.hosts]

    def _wire(self, name: str, port: int) -> Wire:
        given = self._location.sentinel_options
        soon = {"socket_timeout": given["socket_connect_timeout"]}  # others may be asked, and all lines wait
        options: Options = {**given, **soon, "host": name, "port": port}
        return Wire(f"Sentinel {address(name, port)}", self._location.kind, lambda: options)

    def locate(self) -> dict[str, Any]:
        """The options of a connection to the primary.

        Raises `CallRefusedError` if no Sentinel knows one.
        """
        with self._lock:
            errors: list[str] = []
            for wire in self._wires:
                try:
                    (told,) = wire.call(("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._location.service))
                except RedisStoreError as error:
                    errors.append(str(error))
                    continue
                finally:
                    wire.close()
                if told is not None:
                    self._wires.sort(key=lambda other: other is not wire)  # who answered is asked first
                    name, port = told
                    return {**self._location.options, "host": name.decode(), "port": int(port)}
                errors.append(f"{wire.server} knows no such service")
            raise CallRefusedError(self._location.server, f"no primary: {'; '.join(errors)}", "CONNECT")
