"""One connection: each call is sent once, and either answered, refused, or its outcome unknown.

redis-py repeats calls by default, and a call that is repeated after its answer was lost is done twice.
Here a call goes over a connection directly, with all that repeats switched off; so does what reads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from durable_jobs_redis._errors import RedisStoreError, code_of, refused, unconnected

Command: TypeAlias = Sequence[str | bytes | int]
Options: TypeAlias = Mapping[str, Any]

_KINDS: dict[str, Any] = {
    "redis": Connection,
    "rediss": SSLConnection,
    "unix": UnixDomainSocketConnection,
}
_OF_THE_CALL = ("NOSCRIPT", "MOVED", "ASK", "TRYAGAIN")
"""Refusals of a call that say nothing against its connection."""


class Told(NamedTuple):
    """What became of a command: its answer, or the error that says why there is none; and the answers to
    what was sent behind it."""

    answer: Any
    behind: Sequence[Any] = ()


class Sent(NamedTuple):
    """How many commands were sent, and how many behind them; `error`: why they could not be, if so."""

    commands: int
    behind: int
    error: RedisStoreError | None


class Line:
    """A way to a store: to a server, or to the nodes of a Cluster. `server`: which, for people."""

    server: str

    def ask(self, commands: Sequence[Command], behind: Sequence[Command] = ()) -> list[Told]:
        """Send commands together; what became of each, in order. `behind`: sent to each server after them.

        An error is a `CallRefusedError` if the command has certainly done nothing, a `RedisStoreError` if
        no one can tell.
        """
        raise NotImplementedError

    def call(self, *commands: Command) -> list[Any]:
        """Answers, in order. Raises the error of the first; that of another is its answer."""
        answers = [told.answer for told in self.ask(commands)]
        if isinstance(answers[0], RedisStoreError):
            raise answers[0]
        return answers

    def wires(self) -> Sequence[Wire]:
        """One to each server."""
        raise NotImplementedError

    def listen(self, channel: str) -> Any:
        """A connection of its own, subscribed to a channel; its `read_response` gives messages."""
        raise NotImplementedError

    def close(self) -> None:
        """Close what is open; the next call opens it again."""
        raise NotImplementedError


class Wire(Line):
    """A connection to `server`, opened when it is needed, and again after it was closed.

    `locate`: the options of a connection, asked for each time one is opened; `lock`: whoever sends holds it
    until all is received, for answers come without saying what they are to.
    """

    def __init__(self, server: str, kind: str, locate: Callable[[], Options]) -> None:
        self.server = server
        self._kind = _KINDS[kind]
        self._locate = locate
        self._connection: Any = None
        self.lock = threading.Lock()

    def ask(self, commands: Sequence[Command], behind: Sequence[Command] = ()) -> list[Told]:
        with self.lock:
            sent = self.send(commands, behind)
            return self.receive(sent)

    def send(self, commands: Sequence[Command], behind: Sequence[Command] = ()) -> Sent:
        """Send commands; what becomes of them has to be received next."""
        size = len(commands), len(behind)
        try:
            connection = self._connected()
            with self._closing_on_error():
                packed = connection.pack_commands((*commands, *behind))
                connection.send_packed_command(packed, check_health=False)
        except RedisStoreError as error:
            return Sent(*size, error)
        return Sent(*size, None)

    def receive(self, sent: Sent) -> list[Told]:
        """What became of what was sent. After an error that may be of the connection, it is closed."""
        count = sent.commands + sent.behind
        answers: list[Any] = []
        error = sent.error
        try:
            with self._closing_on_error():
                while error is None and len(answers) < count:
                    answers.append(self._answer())
        except RedisStoreError as lost:
            error = lost
        answers += [error] * (count - len(answers))
        first = answers[0]
        if isinstance(first, RedisStoreError) and getattr(first, "code", None) not in _OF_THE_CALL:
            self._drop()
        rest = answers[sent.commands :]
        return [Told(answer, rest) for answer in answers[: sent.commands]]

    def wires(self) -> Sequence[Wire]:
        return (self,)

    def listen(self, channel: str) -> Any:
        connection = self._new()
        try:
            connection.connect()
            connection.send_command("SUBSCRIBE", channel, check_health=False)
            connection.read_response()
        except BaseException:
            connection.disconnect()
            raise
        return connection

    def close(self) -> None:
        with self.lock:
            self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()

    def _new(self) -> Any:
        return self._kind(**self._locate(), retry=Retry(NoBackoff(), 0), health_check_interval=0, protocol=2)

    def _connected(self) -> Any:
        """A connection that is open: what is sent over one that the server has closed is lost."""
        if self._connection is not None and not _is_quiet(self._connection):
            self._drop()
        if self._connection is None:
            connection = self._new()
            try:
                connection.connect()
            except (RedisError, OSError) as error:
                connection.disconnect()
                raise unconnected(self.server, error) from error
            self._connection = connection
        return self._connection

    @contextmanager
    def _closing_on_error(self) -> Generator[None]:
        try:
            yield
        except BaseException as error:
            self._drop()
            if not isinstance(error, RedisError | OSError | EOFError):
                raise
            raise RedisStoreError(self.server, f"{error} ({type(error).__name__})") from error

    def _answer(self) -> Any:
        try:
            return self._connection.read_response(disconnect_on_error=False)
        except RedisError as error:
            code = code_of(error)
            if code is not None:
                return refused(self.server, error, code)
            if isinstance(error, ResponseError):
                return RedisStoreError(self.server, f"{error} ({type(error).__name__})")
            raise


def _is_quiet(connection: Any) -> bool:
    """Whether there is nothing to read, an end neither."""
    try:
        return not connection.can_read(0)
    except (RedisError, OSError):
        return False
