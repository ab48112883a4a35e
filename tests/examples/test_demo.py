"""`make demo` as a real process, and the account that it gives of itself."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from attrs import evolve
from demo import Stage, account
from demo_account import Check, Effect, Log, verify
from demo_jobs import Order, Tokens
from demo_screen import Line, Row, Screen, table
from support.killing import command, finish


def effect(service: str, instance: str, key: str, **facts: object) -> Effect:
    return Effect(service, instance, key, facts)


LOG = Log(
    first_token="t0",
    webhooks={"octo/a": ["d1", "d2", "d3"]},
    orders={"o": [1, 2, 3]},
    tokens={"u": Tokens("t2")},
    runs={"u": 2},
    order_states={"o": Order(applied=(1, 2, 3), stage="closed")},
)
FIRST_BATCH = effect("receiver", "debounce:webhookBatcher:octo/a", "k1", webhooks=["d1", "d2"])
LAST_BATCH = effect("receiver", "debounce:webhookBatcher:octo/a", "k2", webhooks=["d3"])
PARCEL = effect("carrier", "task:orders:o", "k3", item="a lamp")
FIRST_TOKEN = effect("oauth", "continuous:tokenRefresher:u", "k4", presented="t0", issued="t1")
LAST_TOKEN = effect("oauth", "continuous:tokenRefresher:u", "k5", presented="t1", issued="t2")
EFFECTS = [FIRST_BATCH, LAST_BATCH, PARCEL, FIRST_TOKEN, LAST_TOKEN]


def wrong(log: Log, effects: list[Effect]) -> list[str]:
    return [line for check in verify(log, effects) for line in check.wrong]


def test_the_demo_kills_its_worker_and_nothing_is_lost_or_applied_twice() -> None:
    said = finish(command("demo.py")).stdout

    assert len(re.findall(r"SIGKILL  (continuous|task|debounce):", said)) == 3
    assert re.search(r"3 kills, \d+ crashes seen: nothing was lost, nothing was applied twice\.", said)
    assert "320 webhooks acknowledged" in said
    assert "64 order events acknowledged" in said
    assert "✗" not in said
    assert "\x1b" not in said, "nobody watches: no drawing in place"


def test_an_account_that_balances_has_nothing_wrong() -> None:
    assert wrong(LOG, EFFECTS) == []
    assert wrong(LOG, [*EFFECTS, FIRST_BATCH, PARCEL, LAST_TOKEN]) == [], "the same again is no harm"


@pytest.mark.parametrize(
    ("effects", "said"),
    [
        ([FIRST_BATCH, PARCEL, FIRST_TOKEN, LAST_TOKEN], "octo/a: d3 was acknowledged and is lost"),
        ([*EFFECTS, evolve(LAST_BATCH, key="k9")], "octo/a: d3 was applied too often"),
        ([*EFFECTS, evolve(LAST_BATCH, facts={"webhooks": []})], "the key k2 came with different contents"),
        ([*EFFECTS, evolve(PARCEL, key="k9")], "o: it was shipped 2 times"),
        ([FIRST_BATCH, LAST_BATCH, FIRST_TOKEN, LAST_TOKEN], "o: it was shipped 0 times"),
        ([*EFFECTS, evolve(LAST_TOKEN, key="k9")], "u: 't1' was presented, not 't2'"),
        ([FIRST_BATCH, LAST_BATCH, PARCEL, FIRST_TOKEN], "u: 2 runs, 1 rotations"),
    ],
)
def test_what_does_not_balance_is_named(effects: list[Effect], said: str) -> None:
    assert said in wrong(LOG, effects)


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (evolve(LOG, order_states={}), "o: acknowledged were the events [1, 2, 3], applied []"),
        (
            evolve(LOG, order_states={"o": Order(applied=(1, 2, 3), stage="paid")}),
            "o: it is paid, not closed",
        ),
        (evolve(LOG, tokens={"u": Tokens("t1")}), "u: 't2' was issued last, Tokens(refresh='t1') is stored"),
        (evolve(LOG, webhooks={}), "octo/a: d1 was applied too often"),
    ],
)
def test_what_is_stored_has_to_agree_too(log: Log, said: str) -> None:
    assert said in wrong(log, EFFECTS)


def test_the_demo_fails_when_a_check_fails(tmp_path: Path) -> None:
    out = io.StringIO()
    stage = Stage(tmp_path, Screen(out))

    assert account(stage, [Check("all is well", ())])
    assert not account(stage, [Check("all is well", ()), Check("it is not", ("one is lost",))])
    assert "✗ it is not\n      one is lost" in out.getvalue()
    assert "the account does not balance" in out.getvalue()


class Terminal(io.StringIO):
    """Somebody watches."""

    def isatty(self) -> bool:
        return True


def test_the_picture_is_drawn_in_place_and_keeps_to_the_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "30")
    out = Terminal()
    screen = Screen(out)
    lines = [*table([Row("continuous", "tokenRefresher", 4, None, 100, 10, 3)]), Line("x" * 200, "bad")]

    screen.draw(lines)
    screen.draw(lines)

    assert screen.is_live
    assert out.getvalue().count("\x1b[3A") == 1, "the second picture goes over the first"
    plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", out.getvalue())
    assert max(map(len, plain.splitlines())) < 80
    assert "…" in plain


def test_a_screen_without_a_terminal_has_no_colours() -> None:
    out = io.StringIO()
    screen = Screen(out)

    screen.say(Line("bad news", "bad"))

    assert not screen.is_live
    assert out.getvalue() == "bad news\n"
