"""What can be wrong with a server, in words, and what its errors say of a call.

StorageError
└── RedisStoreError    the server cannot be used, or could not be just now
    ├── CallRefusedError   it is proven that the call did nothing
    │   └── StoreLostError     the store that was opened is not there any more
    └── NewerStoreError    a newer release has made the store
"""

from __future__ import annotations

import re

from redis import exceptions

from durable_jobs_core.errors import StorageError

_CODES: tuple[tuple[type[Exception], str], ...] = (
    (exceptions.NoScriptError, "NOSCRIPT"),
    (exceptions.BusyLoadingError, "LOADING"),
    (exceptions.ReadOnlyError, "READONLY"),
    (exceptions.OutOfMemoryError, "OOM"),
    (exceptions.NoPermissionError, "NOPERM"),
    (exceptions.AuthenticationError, "NOAUTH"),
    (exceptions.MasterDownError, "MASTERDOWN"),
    (exceptions.ClusterDownError, "CLUSTERDOWN"),
    (exceptions.TryAgainError, "TRYAGAIN"),
    (exceptions.MovedError, "MOVED"),
    (exceptions.AskError, "ASK"),
)
"""redis-py takes the code off the messages it has a class for. A subclass comes before its base."""

_TRANSIENT = (
    *("NOSCRIPT", "LOADING", "READONLY", "OOM", "MISCONF", "NOREPLICAS", "BUSY"),
    *("MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK"),
)
FOR_GOOD = ("NOPERM", "NOAUTH")
"""Refusals that do not pass: who asks may not, or is nobody."""

_BEFORE_ANYTHING = (*_TRANSIENT, *FOR_GOOD, "LOST")
_CODE = re.compile(rf"^-?(?:@user_script: \d+: -?)?({'|'.join(_BEFORE_ANYTHING)})\b")
"""Before Redis 7 an error that a script has caught, and answers, begins with where it was."""

_IN_A_SCRIPT = re.compile(r"\bon @user_script:\d+\.?$")
"""Where Redis 7 says that a script ended which has not caught the error: it may have written before."""

_NOBODY = re.compile(r"\bunauthenticated (?:multi)?bulk length\b")
"""What Redis 7 says, and ends the connection, to a large call without a password, which it does not read."""

_CUT = re.compile(r"\b(?:Broken pipe|reset by peer|closed by server)\b")
"""What comes of a server that takes a connection, and ends it."""

_ANYWHERE = re.compile(rf"\b({'|'.join(_TRANSIENT)})\b")


class RedisStoreError(StorageError):
    """The server of a store cannot be used.

    `server`: which, without passwords; `cause`: what is wrong. Raised by `open`, nothing was changed;
    raised by `exchange`, the outcome of its writes is unknown.
    """

    changed: bool | None = None

    def __init__(self, server: str, cause: str) -> None:
        self.server, self.cause = server, cause
        super().__init__(f"{server}: {cause}")


class CallRefusedError(RedisStoreError):
    """The server, or the way to it, has refused a call: nothing happened. `code`: as in `READONLY`."""

    changed = False

    def __init__(self, server: str, cause: str, code: str, *, transient: bool = True) -> None:
        super().__init__(server, cause)
        self.code, self.transient = code, transient


class StoreLostError(CallRefusedError):
    """The server has no such store, or another, in place of the one that was opened: it was emptied, was
    restarted without its data, or its name leads to another server now.

    Nothing was written, and nothing is while it is so; to use what is there instead, open it anew.
    """

    def __init__(self, server: str) -> None:
        cause = "the store that was opened is not there any more: it was emptied, or this is another server"
        super().__init__(server, cause, "LOST", transient=False)


class NewerStoreError(RedisStoreError):
    """A newer release has made the store, which alone may use it: `found` and `known` versions."""

    def __init__(self, server: str, found: int, known: int) -> None:
        self.found, self.known = found, known
        super().__init__(server, f"it has the format {found}; this release knows {known}")


def code_of(error: Exception) -> str | None:
    """The code with which a server refuses a call before it has done anything; `None` for any other error."""
    if _IN_A_SCRIPT.search(str(error)):
        return None
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    if _NOBODY.search(str(error)):
        return "NOAUTH"
    found = _CODE.match(str(error))
    return found[1] if found else None


def refused(server: str, error: Exception, code: str) -> CallRefusedError:
    """The typed form of an error with such a code."""
    if code == "LOST":
        return StoreLostError(server)
    text = str(error)
    if _NOBODY.search(text):
        text = f"Authentication required ({text})"
    cause = (text if code in text else f"{code} {text}") + _advice(text, code)
    return CallRefusedError(server, cause, code, transient=code in _TRANSIENT)


def unconnected(server: str, error: Exception) -> CallRefusedError:
    """The typed form of an error by which there is no connection."""
    code = code_of(error) or "CONNECT"
    cause = f"it cannot be connected to: {error}{_advice(str(error), code)}"
    return CallRefusedError(server, cause, code, transient=code not in FOR_GOOD)


def _advice(text: str, code: str) -> str:
    """What to look at, where the error does not say it."""
    if code == "NOPERM":
        return "; help(durable_jobs_redis) names the rights that are needed"
    if code == "CONNECT" and _CUT.search(text):
        return " It may want TLS (rediss://), or let in its own machine alone, for it has no password"
    return ""


def is_transient(text: str) -> bool:
    """Whether trying again may help a write that a script could not do, for what it says."""
    return _ANYWHERE.search(text) is not None
