"""Who may come in, and how: users with passwords and as few rights as are needed, and TLS."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import durable_jobs_redis
import pytest
from durable_jobs_conformance import Port
from durable_jobs_redis import CallRefusedError, RedisBackend, RedisStoreError
from support.ports import refusal
from support.redis_clusters import wait_until
from support.redis_servers import Server, Space
from support.tls import TlsProxy, certificate

from durable_jobs_core.backend import Defer, Refused, Write

PASSWORD = "p@ss:/?#%&word ü"
SPACE = "resetkeys", "resetchannels", "~{orders*", "&{orders*", "-@all"
COMMANDS = [
    *("evalsha", "eval", "info", "config|get", "hmget", "get", "set", "hset", "smembers", "zrangebylex"),
    *("subscribe", "publish", "setrange", "time", "del", "exists", "dump", "zadd", "zrank", "zrem", "sadd"),
    *("srem", "hdel", "zscore", "zrangebyscore", "zrange"),
]
"""What the package's documentation says that a user needs."""


def add_user(server: Server, *rules: str) -> str:
    """A user `jobs`; the URL for it."""
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "jobs", "reset", "on", f">{PASSWORD}", *rules)
    return f"redis://jobs:{quote(PASSWORD, safe='')}@127.0.0.1:{server.port}/0?namespace=orders"


@pytest.fixture(autouse=True)
def users(server: Server) -> Iterator[None]:
    """The user is gone after the test."""
    yield
    with server.client() as client:
        client.execute_command("ACL", "DELUSER", "jobs")


def use(port: Port) -> None:
    """A bit of everything."""
    port.create("a", "b", wake=10)
    assert port.scan() == ["a", "b"]
    assert port.claim(10) == ["a", "b"]
    port.ask(Write(port.key("a"), b"r0", None))
    assert port.load("a") is None
    assert port.backend.health().jobs == (("task", "mail"),)
    port.next_wake()
    threading.Timer(0.05, port.again().create, ["c"], {"wake": 5}).start()
    began = time.monotonic()
    port.backend.wait(20)
    assert time.monotonic() - began < 10, "the other has not been heard"


def test_the_guide_and_the_package_name_these_rights() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "operate.md").read_text()
    _, _, line = guide.partition("ACL SETUSER jobs ")
    rules = line.partition("```")[0].split()
    assert rules[:2] == ["on", ">secret"]
    assert [rule.replace("shop", "orders") for rule in rules[2:7]] == [*SPACE]
    assert rules[7:] == [f"+{name}" for name in COMMANDS]
    told = " ".join((durable_jobs_redis.__doc__ or "").split())
    assert f"and the commands {', '.join(COMMANDS)}; in a Cluster" in told


@pytest.mark.parametrize(("end", "more"), [("/0", []), ("/1", ["+select"])])
def test_a_user_with_the_rights_that_are_documented_can_do_all(server, end, more) -> None:
    url = add_user(server, *SPACE, *(f"+{name}" for name in COMMANDS), *more)
    port = Port(Space(url.replace("/0", end)))
    use(port)
    assert port.backend.health().warnings == ()
    port.close_all()


def test_a_user_who_may_not_ask_for_settings_can_work_and_is_told(server) -> None:
    url = add_user(server, *SPACE, *(f"+{name}" for name in COMMANDS if name != "config|get"))
    port = Port(Space(url))
    use(port)
    assert any("CONFIG is not allowed" in text for text in port.backend.health().warnings)
    port.close_all()


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        ("zrangebyscore", "due work of task:mail is not taken: "),
        ("zrange", "due work of task:mail is not seen: "),
        ("zrank", "others are not told of due work: "),
        ("publish", "others are not told of due work: "),
        ("subscribe", "due work of other processes is noticed late: "),
    ],
)
def test_a_right_that_only_due_work_needs_is_told_in_the_log_and_by_health(
    server, caplog, missing, says
) -> None:
    url = add_user(server, *SPACE, *(f"+{name}" for name in COMMANDS if name != missing))
    port = Port(Space(url))
    for n in range(3):
        port.create(f"a{n}", wake=10)
        port.claim(5)
    port.backend.wait(0)
    wait_until(lambda: any(says in text for text in port.backend.health().warnings))
    (told,) = [text for text in caplog.messages if says in text]
    assert told.startswith(server.url)  # once, and not which command: before Redis 7 nobody knows
    assert {record.name for record in caplog.records} == {"durable_jobs"}
    port.close_all()


def test_a_user_of_another_namespace_is_refused_for_good(server) -> None:
    url = add_user(server, "~{bills*", "&*", "+@all")
    with pytest.raises(CallRefusedError, match="NOPERM") as raised:
        RedisBackend.open(url)
    assert not raised.value.transient
    assert "word" not in str(raised.value)
    assert "; help(durable_jobs_redis) names the rights that are needed" in str(raised.value)


def test_a_server_that_ends_a_connection_at_once_may_want_tls_or_a_password() -> None:
    """As one in protected mode does, and one that waits for TLS."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=lambda: server.accept()[0].close(), daemon=True)
        thread.start()
        with pytest.raises(
            CallRefusedError, match=r"cannot be connected to: .* It may want TLS \(rediss://\)"
        ):
            RedisBackend.open(f"redis://127.0.0.1:{server.getsockname()[1]}")
        thread.join()


def test_rights_that_are_taken_away_refuse_the_next_exchange(server) -> None:
    url = add_user(server, "~*", "&*", "+@all")
    port = Port(Space(url))
    port.create("a")
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "jobs", "-evalsha", "-eval")
    (outcome,) = port.ask(Write(port.key("b"), None, port.row("b"))).outcomes
    assert isinstance(outcome, Refused)
    assert not outcome.transient
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "jobs", "+evalsha", "+eval")
    assert port.scan() == ["a"]
    port.close_all()


def test_rights_that_are_missing_in_the_middle_of_a_write_leave_its_outcome_unknown(server) -> None:
    port = Port(Space(add_user(server, "~*", "&*", "+@all")))
    port.create("a")
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "jobs", "-hset")
    for write in Write(port.key("b"), None, port.row("b")), Defer(port.key("a"), b"r0", 5):
        with pytest.raises(RedisStoreError, match="script") as raised:
            port.ask(write)
        assert raised.value.changed is None
    port.close_all()


def test_r3_what_cannot_be_filed_is_put_back_and_its_row_not_removed_meanwhile(server) -> None:
    """A log may be cut in the midst of it."""
    port = Port(Space(add_user(server, "~*", "&*", "+@all")))
    port.create("a", "held", wake=10)
    port.ask(Defer(port.key("held"), b"r0", 15))
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "jobs", "-zrem", "-del")
        for id in ("a", "held"):
            name = f"{{orders:0}}:row:task:mail:{id}"
            before = client.hgetall(name)
            for row in (port.row(id, b"r1"), None):
                refusal(port, Write(port.key(id), b"r0", row))
                assert client.hgetall(name) == before
        with pytest.raises(RedisStoreError):  # what was begun anew cannot be taken back
            port.create("new")
    port.close_all()


def test_a_wrong_password_is_refused_and_not_told(server) -> None:
    url = add_user(server, "~*", "+@all").replace("jobs:", "jobs:Xyzzy")
    with pytest.raises(CallRefusedError, match=r"cannot be connected to: .*") as raised:
        RedisBackend.open(url)
    assert not raised.value.transient
    assert "Xyzzy" not in str(raised.value)


# -- TLS


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for this machine's address."""
    assert shutil.which("openssl"), "openssl is not installed"
    return certificate(tmp_path_factory.mktemp("tls"), "IP:127.0.0.1")


@pytest.fixture
def secure(server: Server, files: tuple[Path, Path]) -> Iterator[TlsProxy]:
    """TLS in front of the server."""
    proxy = TlsProxy(files, server.port)
    yield proxy
    proxy.close()


def test_all_goes_over_tls_with_user_and_password(server, secure, files) -> None:
    plain = add_user(server, "~*", "&*", "+@all")
    url = plain.replace("redis://", "rediss://").replace(f":{server.port}/", f":{secure.port}/")
    port = Port(Space(f"{url}&ssl_ca_certs={files[0]}"))
    use(port)
    port.close_all()


def test_a_server_whose_certificate_nobody_vouches_for_is_refused(secure) -> None:
    with pytest.raises(CallRefusedError, match="certificate verify failed"):
        RedisBackend.open(f"rediss://127.0.0.1:{secure.port}")


def test_a_server_of_another_name_is_refused_unless_the_url_lets_it_pass(secure, files) -> None:
    url = f"rediss://localhost:{secure.port}?ssl_ca_certs={files[0]}"
    with pytest.raises(CallRefusedError, match="Hostname mismatch"):
        RedisBackend.open(url)
    RedisBackend.open(f"{url}&ssl_check_hostname=0").close()
