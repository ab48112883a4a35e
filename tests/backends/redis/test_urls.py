"""The URLs of stores: what they say, and what is refused, without a word of a password."""

from __future__ import annotations

import pytest
from durable_jobs_redis._url import parse

from durable_jobs_core.errors import StorageError


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("redis://", (("localhost", 6379),)),
        ("redis://one:1", (("one", 1),)),
        ("redis+cluster://one,two:2,[::1]:3", (("one", 6379), ("two", 2), ("::1", 3))),
        ("rediss+sentinel://one,two:2/orders", (("one", 26379), ("two", 2))),
    ],
)
def test_the_hosts_of_a_url(url, hosts) -> None:
    assert parse(url).hosts == hosts


def test_a_host_of_ipv6_is_told_as_it_is_written_in_a_url() -> None:
    assert parse("redis+cluster://one,[::1]:3").server == "redis+cluster://one:6379,[::1]:3"


def test_the_database_of_a_socket_and_the_certificates_of_tls_are_options(tmp_path) -> None:
    assert parse("unix:///run/redis.sock?db=3").options["db"] == 3
    file = tmp_path / "ca.pem"
    file.touch()
    for scheme, path in (("rediss", ""), ("rediss+cluster", ""), ("rediss+sentinel", "/orders")):
        location = parse(f"{scheme}://one{path}?ssl_ca_certs={file}")
        assert location.options["ssl_ca_certs"] == str(file)


def test_a_log_that_is_synced_by_the_second_has_time_to_confirm() -> None:
    """Redis 8.0 takes 1.01 s for each write, one after the other; Valkey 9.1 takes 0.1."""
    assert parse("redis://one?wait_aof=1").wait_ms > 1_100


def test_a_user_goes_to_servers_and_a_sentinel_has_its_own() -> None:
    location = parse("redis+sentinel://me:p%40ss@one/or%20ders/3?sentinel_username=you&sentinel_password=x")
    assert (location.service, location.database) == ("or ders", 3)
    assert (location.options["username"], location.options["password"]) == ("me", "p@ss")
    assert location.sentinel_options["username"] == "you"
    assert location.sentinel_options["password"] == "x"
    assert "db" not in location.sentinel_options
    assert location.server == "redis+sentinel://one:26379/or ders"


def test_a_stack_with_values_tells_no_password() -> None:
    location = parse("redis+sentinel://me:secret@one/two?sentinel_password=secret")
    assert "one:26379/two" in repr(location)
    assert "secret" not in repr(location)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis://me:secret@one,two", "several hosts"),
        ("redis://me:secret@one:70000", "at most 65535"),
        ("redis://me:secret@one..two", "each part of its name 1 to 63 letters"),
        (f"redis+sentinel://me:secret@one,{'a' * 64}:1/two", "each part of its name"),
        ("redis://me:sec/secret@one", "written %2F"),
        ("redis://me:secret@one/x", "a number, not 'x'"),
        ("redis://one?lanes=2", r"lanes is for redis\+cluster:// only"),
        ("redis+cluster://me:secret@one/1", "database 0 only"),
        ("redis+cluster://one?sentinel_password=secret", r"is for redis\+sentinel:// only"),
        ("redis+sentinel://me:secret@one", "names no service"),
        ("redis+sentinel://one?sentinel_password=secret", "names no service"),
        ("unix://?db=1", "names no socket"),
        ("redis://me:secret@one?db=3", "db is for unix://"),
        ("redis+sentinel://one/orders?db=3", "db is for unix://"),
        ("redis://me:secret@one?ssl_ca_certs=ca.pem", "ssl_ca_certs is for rediss:// only"),
        ("rediss://me:secret@one?ssl_keyfile=no.pem", "ssl_keyfile is a file that is there, not 'no.pem'"),
        (f"rediss://me:secret@one?ssl_keyfile={'a' * 999}", "ssl_keyfile is a file that is there, not 'aaa"),
        ("unix:///run/redis.sock?ssl_check_hostname=0", "ssl_check_hostname is for rediss:// only"),
        ("http://me:secret@one", "the scheme has to be one of"),
        ("redis+clutser://me:secret@one", "the scheme has to be one of"),
        ("redis://me:secret@[one", "is no URL"),
        ("redis://me:secret@one?poll=1", "unknown option 'poll'"),
        ("redis://me:se\nsecret@one:x", "at most 65535"),
        ("redis://one?password=secret", "unknown option 'password'"),
        ("redis+sentinel://one/two?Sentinel_Password=secret&db=1", "unknown option 'Sentinel_Password'"),
        ("redis://me:secret@one?namespace=", "namespace is 1 to 64 letters"),
        ("redis://me:secret@one?shards=0", "shards is a number from 1 to 4096, not '0'"),
        ("redis://me:secret@one?wait_ms=1.5", "wait_ms is a number from 1 to 60000, not '1.5'"),
        ("redis://me:secret@one?timeout=soon", "timeout is a number of seconds"),
        ("redis://me:secret@one?timeout=601", "timeout is a number of seconds, more than 0 and at most 600"),
        ("redis://me:secret@one?wait_aof=yes", "wait_aof is 0 or 1, not 'yes'"),
        ("redis://me:secret@one?wait_replicas=1&wait_ms=5000", "wait_ms has to be less than timeout, 5 s"),
        ("redis://me:secret@one?wait_aof=1&timeout=2", "wait_ms has to be less than timeout, 2 s"),
    ],
)
def test_a_url_that_is_not_understood_is_refused_and_its_password_not_told(url, why) -> None:
    with pytest.raises(StorageError, match=why) as raised:
        parse(url)
    assert "secret" not in str(raised.value)
