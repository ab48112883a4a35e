"""Arguments, checked whole before anything is begun: what was expected of each, and what came."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from inspect import iscoroutinefunction
from urllib.parse import urlsplit

from attrs import evolve

from durable_jobs_core.checks import shown, without_secrets
from durable_jobs_core.durations import to_ms
from durable_jobs_core.errors import Issue, ValidationError
from durable_jobs_core.words import YEAR_MS


class Arguments:
    """Notes what is wrong with each argument, so that all of it can be told at once.

    One rule for spans: what is only waited for may be zero, and is then not waited for; what something is
    to be done in is at least a millisecond.
    """

    def __init__(self) -> None:
        self.issues: list[Issue] = []

    def expect(self, is_fine: bool, name: str, expected: str, got: str) -> bool:
        """Note an issue unless it `is_fine`, and tell whether it is."""
        if not is_fine:
            self.issues.append(Issue(name, expected, got))
        return is_fine

    def kind(self, name: str, value: object, type_: type[object], expected: str) -> bool:
        """A value of a type."""
        return self.expect(isinstance(value, type_), name, expected, shown(value))

    def flag(self, name: str, value: object) -> None:
        """`True` or `False`: a text such as "no" is true."""
        self.kind(name, value, bool, "True or False")

    def choice(self, name: str, value: object, choices: Sequence[str]) -> None:
        """One of a few words, or `None`."""
        is_fine = value is None or (isinstance(value, str) and value in choices)
        self.expect(is_fine, name, f"one of {', '.join(choices)}, or None", shown(value))

    def count(self, name: str, value: object, least: int, most: float = math.inf) -> None:
        """A whole number."""
        is_fine = isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
        expected = f"{least} or more" if most == math.inf else f"{least} to {most:,}"
        self.expect(is_fine, name, f"a whole number, {expected}", shown(value))

    def seconds(self, name: str, value: object, least: float) -> None:
        """A span in seconds, at most a year; a NaN is not between any two."""
        most = YEAR_MS // 1000
        is_fine = isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most
        self.expect(is_fine, name, f"a number of seconds from {least} to {most:,}", shown(value))

    def span(self, name: str, value: object, least: int) -> int:
        """The milliseconds of a `Duration`."""
        try:
            ms = to_ms(value, name)
        except ValidationError as error:
            self.issues += [evolve(issue, path=name) for issue in error.issues]
            return least
        self.expect(ms >= least, name, f"at least {least} ms", repr(value))
        return ms

    def url(self, name: str, value: object) -> None:
        """An http(s) URL, whose secrets are not shown."""
        got = repr(without_secrets(value)) if isinstance(value, str) else shown(value)
        is_url = isinstance(value, str) and _is_http_url(value)
        self.expect(is_url, name, "an http(s) URL", got)
        has_user = is_url and "@" in urlsplit(str(value)).netloc
        self.expect(not has_user, name, "no user and password, which go into headers=", got)

    def headers(self, name: str, value: object) -> None:
        """Headers of a request by name; they may hold secrets, which are not shown."""
        if not isinstance(value, Mapping):
            self.expect(False, name, "texts by name", type(value).__name__)
            return
        for header, text in value.items():
            is_name = isinstance(header, str) and re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", header)
            self.expect(bool(is_name), name, "names of letters, digits and dashes", repr(header))
            is_line = isinstance(text, str) and re.fullmatch(r"[\t\x20-\x7e\x80-\xff]*", text)
            if is_name:
                self.expect(bool(is_line), f"{name}[{header!r}]", "text of one line", type(text).__name__)

    def methods(self, name: str, value: object, methods: str, expected: str) -> bool:
        """An object, not a class, that has these methods, none of which has to be awaited."""
        names = methods.split()
        found = [getattr(value, method, None) for method in names]
        has = not isinstance(value, type) and all(map(_is_plain, found))
        return self.expect(has, name, f"{expected}, with plain methods {', '.join(names)}", shown(value))

    def check(self, subject: str) -> None:
        """Raise `ValidationError` with the issues, if there are any."""
        if self.issues:
            raise ValidationError(subject, tuple(self.issues))


def _is_plain(method: object) -> bool:
    return callable(method) and not iscoroutinefunction(method)


def _is_http_url(value: str) -> bool:
    if not re.fullmatch(r"https?://[\x21-\x7e]+", value):
        return False
    try:
        parts = urlsplit(value)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, half a bracket
        return False
