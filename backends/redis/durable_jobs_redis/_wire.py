"""One connection: each call is sent once, and either answered, refused, or its outcome unknown.

redis-py repeats calls by default, and a call that is repeated after its answer was lost is done twice.
Here a call goes over a connection directly, with all that repeats switched off; so does what reads.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from durable_jobs_redis._errors import CallRefusedError, RedisStoreError, code_of, refused

Command: TypeAlias = Sequence[str | bytes | int]

_KINDS: dict[str, Any] = {
    "redis": Connection,
    "rediss": SSLConnection,
    "unix": UnixDomainSocketConnection,
}


class Wire:
    """A connection to `server`, opened when it is needed, and again after it was closed."""

    def __init__(self, server: str, kind: str, options: Mapping[str, Any]) -> None:
        self.server = server
        self._kind = _KINDS[kind]
        self._options = {**options, "retry": Retry(NoBackoff(), 0), "health_check_interval": 0, "protocol": 2}
        self._connection: Any = None
        self._lock = threading.Lock()

    def call(self, *commands: Command) -> list[Any]:
        """Send commands together, and their answers in order; an error of one but the first is an answer.

        Raises `CallRefusedError` if the first has certainly done nothing, `RedisStoreError` if no one can
        tell. The connection is closed then.
        """
        with self._lock:
            connection = self._connected()
            try:
                connection.send_packed_command(connection.pack_commands(commands), check_health=False)
                answers = [connection.read_response()]
                answers += [_answer(connection) for _ in commands[1:]]
            except BaseException as error:
                self._drop()
                if not isinstance(error, RedisError | OSError | EOFError):
                    raise
                code = code_of(error)
                if code is not None:
                    raise refused(self.server, error, code) from error
                raise RedisStoreError(self.server, f"{error} ({type(error).__name__})") from error
        return answers

    def _connected(self) -> Any:
        """A connection that is open: what is sent over one that the server has closed is lost."""
        if self._connection is not None and not _is_quiet(self._connection):
            self._drop()
        if self._connection is None:
            connection = self._kind(**self._options)
            try:
                connection.connect()
            except (RedisError, OSError) as error:
                connection.disconnect()
                code = code_of(error) or "CONNECT"
                transient = code not in ("NOAUTH", "NOPERM")
                cause = f"it cannot be connected to: {error}"
                raise CallRefusedError(self.server, cause, code, transient=transient) from error
            self._connection = connection
        return self._connection

    def listen(self, channel: str) -> Any:
        """A connection of its own, subscribed to a channel; its `read_response` gives messages."""
        connection = self._kind(**self._options)
        try:
            connection.connect()
            connection.send_command("SUBSCRIBE", channel, check_health=False)
            connection.read_response(timeout=None)
        except BaseException:
            connection.disconnect()
            raise
        return connection

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        with self._lock:
            self._drop()

    def abandon(self) -> None:
        """In a forked child: forget the connection, which is its parent's."""
        self._connection = None

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()


def _is_quiet(connection: Any) -> bool:
    """Whether there is nothing to read, an end neither."""
    try:
        return not connection.can_read(0)
    except (RedisError, OSError):
        return False


def _answer(connection: Any) -> Any:
    try:
        return connection.read_response()
    except ResponseError as error:
        return error
