"""What long work says of itself: written over on a terminal, a line now and then in a log."""

from __future__ import annotations

import io
import sys

import pytest
from durable_jobs_simulation import progress
from durable_jobs_simulation.progress import LINE_S, TERMINAL_S, Progress


class Screen(io.StringIO):
    """Standard error, a terminal or not."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.mark.parametrize(
    ("terminal", "every", "expected"),
    [
        (True, TERMINAL_S, "\r\x1b[Kone\r\r\x1b[Kfound\n\r\x1b[Ktwo\r\r\x1b[K"),
        (False, LINE_S, "one\nfound\ntwo\n"),
    ],
)
def test_it_says_where_it_is_no_oftener_than_can_be_read(
    terminal: bool, every: float, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen, now = Screen(terminal), 100.0
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    shown = Progress()
    shown.show(lambda: "too early")

    for line in ("one", "two"):
        now += every
        shown.show(lambda line=line: line)
        shown.show(lambda: "too often")
        if line == "one":
            shown.say("found")
    shown.clear()

    assert screen.getvalue() == expected


def test_a_line_that_is_too_long_for_a_terminal_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(terminal=True)
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(progress, "TERMINAL_S", 0)
    monkeypatch.setenv("COLUMNS", "10")

    Progress().show(lambda: "0123456789")

    assert screen.getvalue() == "\r\x1b[K012345678\r"
