"""Ids are data: no instance is reached by the key of another, and no text is taken as code."""

from __future__ import annotations

from itertools import count
from typing import Any

from attrs import evolve
from durable_jobs_conformance import Port
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.redis_servers import PROGRAMS, Space, shared

from durable_jobs_core.backend import Claim, Committed, Refused, Row, Write
from durable_jobs_core.words import Key

_numbers = count()
KINDS = st.sampled_from(["task", "debounce", "continuous"])
JOBS = st.sampled_from(["mail", "mail.", "ma", "il", "row", "ids", "due", "task"])
NASTY = st.sampled_from(
    [
        *("a", "A", "a:b", ":a", "a:", "task:mail:a", "mail:a", "row:task:mail:a", "%3A", "%253A", "a%3Ab"),
        *(
            "{a}",
            "{",
            "}",
            "{durable-jobs}:meta",
            "{durable-jobs:0}:clock",
            "clock",
            "meta",
            "probe",
            "*",
            "?",
        ),
        *(
            "[a-z]",
            "\\",
            "\\x00",
            "\0",
            "a\0",
            "\r\n",
            "$4\r\nDEL\r\n",
            "*1\r\n$8\r\nFLUSHALL\r\n",
            " ",
            "",
            "\ufeff",
        ),
        *(
            "é",
            "e\u0301",
            "\U0001f600",
            "'",
            '"',
            "]]",
            "--",
            "' .. redis.call('FLUSHALL') .. '",
            "%s",
            "-inf",
        ),
        *("(a", "[a", "+", "-", "=", "=r0", "0", "1e3", "nan", "None", "a" * 512),
    ]
)
TEXTS = NASTY | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
KEYS = st.builds(Key, KINDS, JOBS, TEXTS)


def port_of(space: str, shards: int) -> Port:
    return Port(Space(f"{shared(PROGRAMS[0]).url}?namespace={space}&shards={shards}"))


def row_of(key: Key, n: int) -> Row:
    """A row that says whose it is."""
    return Row(key, b"r%d" % n, n, key.id[:20], repr(key).encode())


@settings(max_examples=60)
@given(st.lists(KEYS, min_size=2, max_size=25, unique=True), st.integers(1, 3))
@example([Key("task", "mail", "a:b"), Key("task", "mail", "a"), Key("task", "mail", "b")], 1)
def test_S_63_no_instance_is_reached_by_the_key_of_another(keys: list[Key], shards: int) -> None:
    keys = sorted(keys)
    number = next(_numbers)
    one, other = port_of(f"names-{number}", shards), port_of(f"names-{number}.", shards)
    rows = [row_of(key, n) for n, key in enumerate(keys, 1)]
    answer = one.ask(*(Write(row.key, None, row) for row in rows))
    assert answer.outcomes == (Committed(),) * len(rows)
    assert other.ask(loads=tuple(keys)).rows == (None,) * len(keys)
    assert other.listed(7) == []
    assert one.ask(loads=tuple(keys)).rows == tuple(rows)
    assert one.listed(7) == rows
    limits: dict[Any, int] = dict.fromkeys({key[:2] for key in keys}, 100)
    claimed = one.ask(claim=Claim(limits, len(keys), 1_000)).claimed
    assert sorted(row.key for row in claimed) == keys
    gone, left = rows[::2], rows[1::2]
    one.ask(*(Write(row.key, row.revision, None) for row in gone))
    assert one.listed(7) == left
    one.ask(*(Write(row.key, row.revision, None) for row in left))
    with shared(PROGRAMS[0]).client() as client:
        mine = [key for key in client.scan_iter(f"{{names-{number}:*", 1_000) if not key.endswith(b"}:clock")]
    assert mine == []
    one.close_all()
    other.close_all()


@settings(max_examples=20)
@given(st.lists(KEYS, min_size=1, max_size=10, unique=True), TEXTS, st.binary(max_size=200))
def test_S_64_the_script_is_one_whatever_the_ids_and_payloads_are(
    keys: list[Key], status: str, blob: bytes
) -> None:
    port = port_of(f"names-{next(_numbers)}", 1)
    rows = [Row(key, blob, 5, status, blob) for key in sorted(keys)]
    with shared(PROGRAMS[0]).client() as client:
        client.script_flush()
        port.ask(*(Write(row.key, None, row) for row in rows))
        assert port.ask(loads=tuple(row.key for row in rows)).rows == tuple(rows)
        assert client.info("memory")["number_of_cached_scripts"] == 1
    port.close_all()


def test_what_is_no_text_is_refused_alone() -> None:
    port = port_of(f"names-{next(_numbers)}", 1)
    rows = [row_of(Key("task", "mail", "\ud800"), 1), evolve(port.row("a"), status="\ud800"), port.row("b")]
    answer = port.ask(*(Write(row.key, None, row) for row in rows), loads=(rows[0].key,))
    port.close_all()
    refused = Refused("its key, or its status, has characters that are no text", transient=False)
    assert answer.outcomes == (refused, refused, Committed())
    assert answer.rows == (None,)
