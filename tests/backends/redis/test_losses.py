"""A store that is lost while it is open: it is said, nothing is written, and nothing is made anew unasked."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import pytest
from durable_jobs_conformance import Port
from durable_jobs_redis import NewerStoreError, RedisBackend, RedisStoreError, StoreLostError, _making
from support.one_job import BOOK
from support.ports import refusal
from support.redis_servers import Server, Space

from durable_jobs_core import create_durable_jobs
from durable_jobs_core.backend import Committed, Write
from durable_jobs_core.errors import StorageError


def flush(server: Server) -> None:
    """Empty it."""
    with server.client() as client:
        client.flushall()


def swap(server: Server) -> None:
    """Another database in its place, as another server would be after its name was given away."""
    with server.client() as client:
        client.execute_command("SWAPDB", 0, 1)


def start_empty(server: Server) -> None:
    """Restart it without its data."""
    server.kill()
    server.forget()
    server.start()


def make_anew(server: Server) -> None:
    """Empty it, and let another process make a store of this name."""
    flush(server)
    RedisBackend.open(server.url).close()


def promote_another(server: Server) -> None:
    """The store of another primary, as after a failover to what had never been its replica."""
    flush(server)
    with server.client() as client:
        client.hset("{durable-jobs}:meta", mapping={"format": 1, "shards": 1, "id": "elsewhere"})
        client.set("{durable-jobs:0}:clock", "elsewhere 5")


LOSSES = [flush, swap, start_empty, make_anew, promote_another]


def image(server: Server) -> dict[bytes, Any]:
    """Every key there is, and what it holds."""
    with server.client() as client:
        return {key: client.dump(key) for key in client.scan_iter()}


@pytest.mark.parametrize("lose", LOSSES)
def test_r3_a_store_that_is_lost_takes_no_writes_and_answers_nothing(server, port, lose) -> None:
    (row,) = port.create("a", wake=10)
    lose(server)
    before = image(server)
    outcome = refusal(port)
    assert not outcome.transient
    assert "not there any more" in outcome.reason
    asks: list[Callable[[], Any]] = [
        lambda: port.ask(Write(port.key("n"), None, port.row("n")), loads=(row.key,)),
        lambda: port.load("a"),
        lambda: port.ask(loads=(row.key,), settle=True),
        lambda: port.claim(10),
        port.scan,
        port.backend.health,
    ]
    for ask in asks:
        with pytest.raises(StoreLostError, match=f"{server.port}: .* not there any more") as raised:
            ask()
        assert raised.value.changed is False
    port.backend.wait(0.05)
    assert image(server) == before


def test_a_store_that_is_put_back_is_the_same_again(server, port) -> None:
    (row,) = port.create("a")
    swap(server)
    refusal(port)
    swap(server)
    assert port.load("a") == row
    port.create("b")
    assert port.scan() == ["a", "b"]


def test_who_opens_it_anew_gets_another_store_and_the_others_stay_out(server, port) -> None:
    port.create("a")
    flush(server)
    anew = port.again()
    anew.create("b")
    assert anew.scan() == ["b"]
    refusal(port)
    assert anew.scan() == ["b"]


@pytest.mark.parametrize("key", ["{durable-jobs}:meta", "{durable-jobs:0}:clock"])
def test_a_store_that_has_lost_a_part_of_its_making_is_not_made_anew(server, port, key) -> None:
    """As by an eviction: who would make it anew would shut out all that have it open."""
    port.create("a")
    with server.client() as client:
        client.delete(key)
    before = image(server)
    with pytest.raises(RedisStoreError, match=r"lost|not there any more"):
        port.again()
    assert image(server) == before


def test_a_store_that_nobody_else_can_open_says_how_to_put_back_what_it_lacks(server, port) -> None:
    port.create("a")
    with server.client() as client:
        before = client.hgetall("{durable-jobs}:meta")
        client.delete("{durable-jobs}:meta")
        (text,) = port.backend.health().warnings
        assert "no process can open the store" in text
        assert "in database 0, by HSET" in text
        client.execute_command(*text[text.index("HSET") :].split())
        assert client.hgetall("{durable-jobs}:meta") == before
    assert port.backend.health().warnings == ()
    assert port.again().scan() == ["a"]


@pytest.mark.parametrize("is_meta_lost", [False, True])
def test_a_store_that_has_lost_a_shard_goes_on_without_it_if_it_is_told_so(server, is_meta_lost) -> None:
    """As where one node of a Cluster came back empty. `docs/operate.md` tells it."""
    port = Port(Space(f"{server.url}?shards=2"))
    port.create(*"abcdef")
    with server.client() as client:
        for key in client.scan_iter("{durable-jobs:0}:*"):
            client.delete(key)
        client.hdel("{durable-jobs}:meta", "made")
        if is_meta_lost:
            client.delete("{durable-jobs}:meta")
            id, _, _ = client.get("{durable-jobs:1}:clock").partition(b" ")
            client.hset("{durable-jobs}:meta", mapping={"format": 1, "shards": 2, "id": id})
    left = port.again().scan()
    assert 0 < len(left) < 6
    assert port.scan() == left  # who has it open goes on too
    port.create(*(set("abcdef") - set(left)))
    port.close_all()


@pytest.mark.parametrize(
    ("field", "value", "error", "why"),
    [
        ("format", "99", NewerStoreError, "it has the format 99; this release knows 1"),
        ("format", "new", RedisStoreError, "is not of this library"),
        ("shards", "many", RedisStoreError, "is not of this library"),
        ("shards", "0", RedisStoreError, "is not of this library"),
        ("shards", "1000000000", RedisStoreError, "is not of this library"),
    ],
)
def test_a_store_of_a_newer_release_or_of_others_is_refused_and_left_as_it_is(
    server, field, value, error, why
) -> None:
    RedisBackend.open(server.url).close()
    with server.client() as client:
        client.hset("{durable-jobs}:meta", field, value)
    before = image(server)
    with pytest.raises(error, match=why):
        RedisBackend.open(server.url)
    assert image(server) == before


def test_a_store_keeps_the_number_of_its_shards(server) -> None:
    RedisBackend.open(f"{server.url}?shards=2").close()
    with pytest.raises(RedisStoreError, match="made with 2 shards, and keeps them; the URL says 3"):
        RedisBackend.open(f"{server.url}?shards=3")


def test_what_cannot_be_opened_leaves_no_connection_open(server) -> None:
    RedisBackend.open(server.url).close()
    with server.client() as client:
        client.delete("{durable-jobs}:meta")
        with pytest.raises(RedisStoreError) as raised:  # it keeps alive what its frames have
            RedisBackend.open(server.url)
        until = time.monotonic() + 10
        while len(client.client_list(_type="normal")) > 1:
            assert time.monotonic() < until, f"still connected after {raised.value}"


def test_a_store_that_is_new_is_told_in_the_log_once(server, caplog) -> None:
    """Whose URL has the wrong database or namespace finds an empty one."""
    with caplog.at_level(logging.INFO, "durable_jobs"):
        for _ in range(2):
            RedisBackend.open(f"{server.url}/3?namespace=shop").close()
    assert caplog.messages == [
        f"{server.url}: a new store was made: database 3 had none of the namespace shop"
    ]
    assert {record.name for record in caplog.records} == {"durable_jobs"}


def test_a_store_that_another_makes_while_it_is_looked_for_is_opened(server, monkeypatch) -> None:
    """Its making is seen to be missing, and its shards are seen to be there: it is not lost but new."""
    look = _making._marks

    def overtaken(*asked: Any) -> list[bytes | None]:
        monkeypatch.setattr(_making, "_marks", look)
        RedisBackend.open(server.url).close()
        return look(*asked)

    monkeypatch.setattr(_making, "_marks", overtaken)
    one, other = Port(Space(server.url)), Port(Space(server.url))
    one.create("a")
    assert other.scan() == ["a"]
    one.close_all()
    other.close_all()


# -- what was acknowledged is lost, but not the store


def test_a_store_that_went_back_behind_a_commit_is_said(forgetful, caplog) -> None:
    port = Port(Space(forgetful.url))
    (row,) = port.create("a")
    with forgetful.client() as client:
        client.save()
    port.create("b")
    assert not any("went back" in text for text in port.backend.health().warnings)
    forgetful.restart()
    with caplog.at_level(logging.ERROR, "durable_jobs"):
        assert port.load("b") is None
    assert port.load("a") == row
    (told,) = [text for text in port.backend.health().warnings if "went back" in text]
    assert told in caplog.text
    assert port.ask(Write(port.key("b"), None, port.row("b"))).outcomes == (Committed(),)
    port.close_all()


def test_S_3_a_request_to_a_lost_store_fails_at_once_and_all_goes_on_when_it_is_back(server, driver) -> None:
    async def main() -> None:
        async with driver.open(create_durable_jobs({"book": BOOK}), server.url) as runtime:
            books = runtime.client.task("book")
            await books.send("a", "one")
            swap(server)
            with pytest.raises(StorageError, match="not there any more") as raised:
                await books.send("a", "two")
            assert raised.value.changed is False
            with pytest.raises(StoreLostError):
                await runtime.health()
            swap(server)
            await books.send("a", "three")
            assert (await books.get_state("a")).state == ["one", "three"]

    driver.run(main)


def test_a_look_that_another_overtakes_is_no_step_back(port, monkeypatch, caplog) -> None:
    """Listing, health and hints look from threads of their own."""
    looker = port.backend._looker
    ask = looker._line.ask

    def overtaken(*args: Any) -> Any:
        told = ask(*args)
        monkeypatch.setattr(looker._line, "ask", ask)
        since = port.ask().clock
        while port.ask().clock <= since:
            pass
        port.create("a")
        looker.check()
        return told

    monkeypatch.setattr(looker._line, "ask", overtaken)
    looker.load((port.key("a"),))
    assert "went back" not in caplog.text
    assert not any("went back" in text for text in port.backend.health().warnings)
