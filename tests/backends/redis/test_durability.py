"""What `health()` says an acknowledgement means, for each setting of a server, and that it is so."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from durable_jobs_conformance import Port
from durable_jobs_redis import RedisBackend, RedisStoreError, StoreLostError
from support.redis_servers import SAFE, Server, Space, launch

from durable_jobs_core import create_durable_jobs
from durable_jobs_core.backend import Committed, Unknown, Write

DONE = Committed()
ALWAYS = "each write is synced to the append-only file before it is acknowledged"
EVERY_SECOND = "the append-only file is synced once a second"
WHENEVER = "the append-only file is synced when the system likes"

SETTINGS: list[tuple[dict[str, str], str, str]] = [
    ({}, ALWAYS, ""),
    ({"appendfsync": "everysec"}, EVERY_SECOND, "appendfsync everysec: .* last two seconds"),
    ({"appendfsync": "no"}, WHENEVER, "appendfsync no: .* end of the machine"),
    ({"no-appendfsync-on-rewrite": "yes"}, ALWAYS, "no-appendfsync-on-rewrite yes: .* snapshot"),
    ({"appendonly": "no"}, "none: lost with the server", "appendonly no: .* last snapshot"),
    ({"appendonly": "no", "save": "3600 1"}, "snapshots only", "appendonly no: .* last snapshot"),
    (
        {"maxmemory": "1gb", "maxmemory-policy": "allkeys-lru"},
        ALWAYS,
        "allkeys-lru: .* throws instances away",
    ),
    ({"maxmemory": "1gb", "maxmemory-policy": "volatile-ttl"}, ALWAYS, ""),
    ({"maxmemory": "1gb", "maxmemory-policy": "noeviction"}, ALWAYS, ""),
]


@pytest.mark.parametrize(("settings", "durability", "warning"), SETTINGS)
def test_r3_health_says_what_an_acknowledgement_means(server, driver, settings, durability, warning) -> None:
    """As the server is set now, not as it was when the store was opened."""
    found: list[Any] = []

    async def main() -> None:
        async with driver.open(create_durable_jobs({}), server.url) as runtime:
            with server.client() as client:
                for name, value in settings.items():
                    client.config_set(name, value)
            found.append((await runtime.health()).backend)

    driver.run(main)
    (health,) = found
    assert health.durability == durability
    assert len(health.warnings) == bool(warning)
    for text in health.warnings:
        assert re.search(warning, text)


def test_what_is_kept_nowhere_is_lost_as_was_said_when_it_was_opened_and_the_loss_is_told(
    forgetful, caplog
) -> None:
    port = Port(Space(forgetful.url))
    (told,) = caplog.record_tuples
    assert told == ("durable_jobs", logging.WARNING, f"{forgetful.url}: {port.backend.health().warnings[0]}")
    assert "takes back what was acknowledged since its last snapshot" in told[-1]
    port.create("a")
    assert port.backend.health().durability == "none: lost with the server"
    forgetful.restart()
    with pytest.raises(StoreLostError):
        port.load("a")
    port.close_all()


def test_what_is_synced_always_survives_a_kill(server, port) -> None:
    rows = port.create("a", "b", wake=10)
    assert port.backend.health().durability == ALWAYS
    server.restart()
    assert [port.load(row.key.id) for row in rows] == rows


def test_an_eviction_throws_instances_away(server, port) -> None:
    """Why it is warned of: here the server evicts as soon as anything is asked."""
    rows = port.create(*(f"{n}" for n in range(20)), blob=b"x" * 10_000)
    with server.client() as client:
        client.config_set("maxmemory-policy", "allkeys-random")
        client.config_set("maxmemory", 1)
        client.exists("anything")
        client.config_set("maxmemory", 0)
        assert client.dbsize() < len(rows)


def test_a_server_that_does_not_show_its_settings_is_said_to_promise_nothing(server) -> None:
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "worker", "on", ">secret", "~*", "&*", "+@all", "-config")
    backend = RedisBackend.open(f"redis://worker:secret@127.0.0.1:{server.port}")
    health = backend.health()
    backend.close()
    with server.client() as client:
        client.execute_command("ACL", "DELUSER", "worker")
    assert health.durability == "the server does not say what it keeps"
    assert any("CONFIG is not allowed here" in text for text in health.warnings)


def test_a_server_that_goes_away_while_it_is_asked_for_its_settings_is_not_said_to_hide_them(
    server, port, monkeypatch
) -> None:
    wire = port.backend._aside
    answer = wire._answer

    def first_only() -> Any:
        monkeypatch.setattr(wire, "_answer", gone)
        return answer()

    def gone() -> Any:
        raise ConnectionError("gone")

    monkeypatch.setattr(wire, "_answer", first_only)
    with pytest.raises(RedisStoreError, match="gone"):
        port.backend._settings()


# -- replicas


@pytest.fixture
def replica(server: Server, program: str) -> Iterator[Server]:
    """A replica of the server."""
    replica = launch(program, *SAFE)
    with server.client() as client:
        client.config_set("repl-diskless-sync-delay", 0)
    with replica.client() as client:
        client.replicaof("127.0.0.1", server.port)
        while client.info("replication")["master_link_status"] != "up":
            pass
    yield replica
    replica.resume()
    replica.discard()


def test_a_failover_may_take_back_what_no_replica_has_confirmed(port, replica) -> None:
    (told,) = port.backend.health().warnings
    assert "a failover may take back what was acknowledged last; ?wait_replicas=1 waits for one" in told


def test_r3_what_a_replica_has_to_confirm_is_committed_when_it_has(server, replica) -> None:
    port = Port(Space(f"{server.url}?wait_replicas=1&wait_ms=20000&timeout=30"))
    rows = port.create("a")
    health = port.backend.health()
    assert health.durability == f"{ALWAYS}; 1 replicas have to confirm each write"
    assert health.warnings == ()
    server.kill()
    port.close_all()
    with replica.client() as client:
        client.replicaof("NO", "ONE")
    there = Port(Space(replica.url))
    assert there.load("a") == rows[0]
    there.close_all()


def test_r3_what_no_replica_confirms_in_time_is_unknown_and_read_back(server, replica) -> None:
    port = Port(Space(f"{server.url}?wait_replicas=1&wait_ms=100"))
    row = port.row("a")
    replica.stop()
    (outcome,) = port.ask(Write(row.key, None, row)).outcomes
    assert outcome == Unknown("WAIT: [0] have confirmed it in time, of [1]")
    with pytest.raises(RedisStoreError, match="WAIT"):
        port.ask(loads=(row.key,), settle=True)
    for _ in range(2):
        with pytest.raises(RedisStoreError, match="WAIT"):
            port.load("a")  # or it would be acknowledged
    replica.resume()
    assert port.load("a") == row
    port.close_all()
    port = Port(Space(f"{server.url}?wait_replicas=1&wait_ms=20000&timeout=30"))
    assert port.ask(loads=(row.key,), settle=True).rows == (row,)
    port.close_all()


def test_who_is_not_confirmed_asks_anew_where_the_primary_is(server, replica, proxy) -> None:
    """One that others have left, but that goes on, would be asked for ever."""
    port = Port(Space(f"{server.url}?wait_replicas=1&wait_ms=20000&timeout=30"))
    port.create("0")
    port.close_all()
    port = Port(Space(f"{proxy.url}?wait_replicas=1&wait_ms=100"))
    with replica.client() as client:
        client.replicaof("NO", "ONE")
    port.backend.health()
    port.load("a")
    proxy.turn_to(replica.port, cut=False)

    (outcome,) = port.ask(Write(port.key("a"), None, port.row("a"))).outcomes
    with pytest.raises(RedisStoreError, match="WAIT"):  # there nobody confirms either
        port.ask(Write(port.key("b"), None, port.row("b")))

    assert isinstance(outcome, Unknown)
    assert port.scan() == ["0", "b"]  # what lists has gone there, too
    assert not any("went back" in text for text in port.backend.health().warnings)  # nothing acknowledged
    port.close_all()
    here, there = Port(Space(server.url)), Port(Space(replica.url))
    assert [here.scan(), there.scan()] == [["0", "a"], ["0", "b"]]
    here.close_all()
    there.close_all()


def test_a_log_that_has_to_confirm_is_there_or_it_is_said(server) -> None:
    url = f"{server.url}?wait_aof=1"
    with server.client() as client:
        version = client.info("server")["redis_version"]  # Valkey says 7.2.4: what it began as
    if version < "7.2":
        with pytest.raises(RedisStoreError, match=r"wait_aof needs Redis 7\.2; this is (6|7\.0)"):
            RedisBackend.open(url)
        return
    with server.client() as client:
        client.config_set("appendfsync", "everysec")
        port = Port(Space(url))
        port.create("a")
        health = port.backend.health()
        assert (
            health.durability == f"{EVERY_SECOND}; its append-only file has to confirm each write (WAITAOF)"
        )
        assert health.warnings == ()
        port.close_all()
        client.config_set("appendfsync", "no")
        with pytest.raises(RedisStoreError, match="wait_aof needs appendfsync everysec or always"):
            RedisBackend.open(url)
        client.config_set("appendonly", "no")
        with pytest.raises(RedisStoreError, match="wait_aof needs an append-only file"):
            RedisBackend.open(url)
