"""Connections that are cut, and answers that do not come: committed or not, each exchange is sent once, and
what became of it is never guessed but read back (R-3, D-6)."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from durable_jobs_redis import CallRefusedError, RedisStoreError, _exchange
from durable_jobs_redis._wire import Wire
from redis.connection import Connection
from support.ports import in_a_hurry
from support.redis_proxy import Asked, Fate, Proxy

from durable_jobs_core.backend import Claim, Committed, Conflicted, Refused, Write

DONE = Committed()
LATE = "it came after its deadline"
UNTOLD: tuple[tuple[Fate, bool], ...] = (("lost", False), ("unanswered", True), ("torn", True))
"""Fates that the client cannot tell apart, and whether the write has landed."""


def once(proxy: Proxy, fate: Fate) -> None:
    """The next exchange has this fate, the others pass."""

    def choose(asked: Asked) -> Fate:
        proxy.choose = lambda asked: "fine"
        return fate

    proxy.choose = choose


def never_twice(proxy: Proxy) -> None:
    """No exchange that writes was sent twice."""
    assert set(proxy.copies.values()) <= {1}


@pytest.mark.parametrize(("fate", "landed"), UNTOLD)
def test_r3_a_write_whose_answer_is_missing_is_unknown_and_read_back(proxy, cut, fate, landed) -> None:
    (old,) = cut.create("a", wake=10)
    new = cut.row("a", b"r1", wake=20)
    once(proxy, fate)
    with pytest.raises(RedisStoreError) as raised:
        cut.ask(Write(old.key, b"r0", new))
    assert not isinstance(raised.value, CallRefusedError)
    assert raised.value.changed is None
    assert cut.load("a") == (new if landed else old)
    assert cut.next_wake() == (20 if landed else 10)
    never_twice(proxy)


@pytest.mark.parametrize(("fate", "landed"), UNTOLD)
def test_r2_what_is_written_on_the_same_base_afterwards_wins_or_conflicts(proxy, cut, fate, landed) -> None:
    (old,) = cut.create("a")
    first, second = cut.row("a", b"r1"), cut.row("a", b"r2")
    once(proxy, fate)
    with pytest.raises(RedisStoreError):
        cut.ask(Write(old.key, b"r0", first))
    (outcome,) = cut.ask(Write(old.key, b"r0", second)).outcomes
    assert outcome == (Conflicted(first) if landed else DONE)
    assert cut.load("a") == (first if landed else second)
    never_twice(proxy)


def test_r2_a_write_that_lands_late_is_fenced_by_what_was_committed_meanwhile(proxy, cut) -> None:
    (old,) = cut.create("a")
    once(proxy, "held")
    with pytest.raises(RedisStoreError):
        cut.ask(Write(old.key, b"r0", cut.row("a", b"r1")))
    new = cut.row("a", b"r2")
    assert cut.ask(Write(old.key, b"r0", new)).outcomes == (DONE,)
    (late,) = proxy.release()
    assert late.answer[1] == [[b"conflicted", [b"r2", b"", b"idle", b"{}"]]]
    assert cut.load("a") == new


def test_r5_a_creation_that_lands_after_its_deadline_creates_nothing(proxy, cut) -> None:
    not_after = cut.ask().clock + 30
    once(proxy, "held")
    with pytest.raises(RedisStoreError):
        cut.ask(Write(cut.key("a"), None, cut.row("a", wake=10)), not_after=not_after)
    while cut.ask(loads=(cut.key("a"),), not_after=not_after, settle=True).clock <= not_after:
        pass
    assert cut.load("a") is None
    (late,) = proxy.release()
    assert late.answer[1] == [[b"late"]]
    assert cut.load("a") is None
    assert cut.next_wake() is None
    assert cut.scan() == []


def test_r5_a_creation_that_lands_late_but_in_time_conflicts_with_what_was_made_meanwhile(proxy, cut) -> None:
    """Until its deadline it may land on what is not there; whoever settles waits for that."""
    not_after = cut.ask().clock + 60_000
    once(proxy, "held")
    write = Write(cut.key("a"), None, cut.row("a"))
    with pytest.raises(RedisStoreError):
        cut.ask(write, not_after=not_after)
    assert cut.ask(write, not_after=not_after).outcomes == (DONE,)
    (late,) = proxy.release()
    assert late.answer[1][0][0] == b"conflicted"


def test_r3_an_answer_that_comes_too_late_is_for_nobody(proxy, cut) -> None:
    """The connection is closed, so that the answer is not taken for that of the next call."""
    (old,) = cut.create("a")
    once(proxy, "slow")
    with in_a_hurry(cut), pytest.raises(RedisStoreError, match=r"[Tt]imeout"):
        cut.ask(Write(old.key, b"r0", cut.row("a", b"r1")))
    assert cut.load("a") == old
    proxy.release()
    assert cut.load("a") == cut.row("a", b"r1")
    never_twice(proxy)


@pytest.mark.parametrize(("fate", "landed"), UNTOLD)
def test_r7_a_claim_whose_answer_is_missing_costs_a_hold(proxy, cut, fate, landed) -> None:
    cut.create("a", wake=10)
    once(proxy, fate)
    with pytest.raises(RedisStoreError):
        cut.claim(10, until=50)
    assert cut.claim(10, until=50) == ([] if landed else ["a"])
    assert cut.claim(50) == ["a"]


@pytest.mark.parametrize(("fate", "landed"), UNTOLD)
def test_r3_a_deletion_whose_answer_is_missing(proxy, cut, fate, landed) -> None:
    (row,) = cut.create("a", wake=10)
    once(proxy, fate)
    with pytest.raises(RedisStoreError):
        cut.ask(Write(row.key, b"r0", None))
    assert cut.load("a") == (None if landed else row)
    assert cut.next_wake() == (None if landed else 10)


def test_r3_where_there_is_nobody_to_connect_to_writes_are_refused(proxy, cut) -> None:
    (row,) = cut.create("a")
    proxy.close()
    answer = cut.ask(Write(row.key, b"r0", cut.row("a", b"r1")))
    (outcome,) = answer.outcomes
    assert isinstance(outcome, Refused)
    assert outcome.transient
    assert "cannot be connected to" in outcome.reason
    assert answer.next_wake is None, "nothing was claimed"
    with pytest.raises(CallRefusedError, match="cannot be connected to"):
        cut.load("a")


def test_I_8_a_claim_that_is_refused_with_its_writes_is_worth_another_soon(proxy, cut, monkeypatch) -> None:
    """That nothing is due is not known: with no next instant the engine would sleep until it polls."""
    (row,) = cut.create("a", wake=10)
    known, later = cut.ask().clock, time.monotonic() + 60
    proxy.close()
    monkeypatch.setattr(_exchange, "time", SimpleNamespace(monotonic=lambda: later))
    answer = cut.ask(Write(row.key, b"r0", cut.row("a", b"r1")), claim=Claim({cut.JOB: 1}, 10, 20))
    assert isinstance(answer.outcomes[0], Refused)
    assert answer.claimed == ()
    assert answer.clock < answer.next_wake <= answer.clock + 1_000
    assert 60_000 <= answer.clock - known < 90_000, "as late as it is, as far as that is known"


def test_r10_who_waits_is_told_again_after_the_connection_was_cut(server, proxy, cut) -> None:
    other = cut.again()
    assert cut.next_wake() is None
    cut.backend.wait(0)
    with server.client() as client:
        client.client_kill_filter(_type="pubsub")
    other.create("b", wake=5)
    cut.backend.wait(10)
    assert cut.claim(5) == ["b"]


def test_r10_who_waits_is_told_again_after_a_fault_that_nobody_thought_of(port, monkeypatch) -> None:
    """As redis-py's own parser has one, if its connection is closed as it begins to read."""
    faults = [AttributeError("'NoneType' object has no attribute 'readline'")]
    real = Wire.listen

    def listen(self: Wire, channel: str) -> Any:
        if faults:
            raise faults.pop()
        return real(self, channel)

    monkeypatch.setattr(Wire, "listen", listen)
    other = port.again()
    assert port.next_wake() is None
    port.backend.wait(0)
    other.create("a", wake=5)
    port.backend.wait(10)
    assert port.claim(5) == ["a"]
    assert port.backend._hints.trouble is None


def test_who_waits_is_told_by_any_redis_py_that_the_package_takes(port, monkeypatch) -> None:
    """Before redis-py 8 a read takes no `timeout` of its own: the listener ended at once, and told nobody."""
    read = Connection.read_response

    def older(self: Connection, disable_decoding: bool = False, *, disconnect_on_error: bool = True) -> Any:
        return read(self, disable_decoding, disconnect_on_error=disconnect_on_error)

    monkeypatch.setattr(Connection, "read_response", older)
    other = port.again()
    assert port.next_wake() is None
    threading.Timer(0.05, other.create, ["a"], {"wake": 5}).start()
    began = time.monotonic()
    port.backend.wait(20)
    assert time.monotonic() - began < 10
    assert port.claim(5) == ["a"]
