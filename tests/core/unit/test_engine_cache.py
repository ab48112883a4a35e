"""Rows kept after their commit: bounded in bytes, the least recently used go first."""

from __future__ import annotations

from durable_jobs_core.backend import Row
from durable_jobs_core.engine.cache import Cache
from durable_jobs_core.words import Key

KEYS = [Key("continuous", "tick", str(i)) for i in range(5)]


def row(number: int, size: int = 0) -> Row:
    return Row(KEYS[number], b"r", 5, "running", bytes(size))


def test_what_was_put_is_taken_once() -> None:
    cache = Cache(10_000)
    cache.put(row(0, 50), stamp=7)

    assert [cache.take(KEYS[0]), cache.take(KEYS[0])] == [(row(0, 50), 7), None]


def test_what_was_not_put_is_not_there() -> None:
    assert Cache(10_000).take(KEYS[0]) is None


def test_what_no_longer_fits_goes_oldest_first() -> None:
    full, one_more = Cache(1_500), Cache(1_500)
    for number in range(3):
        full.put(row(number), stamp=0)
    for number in range(4):
        one_more.put(row(number), stamp=0)

    assert (list(full.entries), list(one_more.entries)) == (KEYS[:3], KEYS[1:4])


def test_what_was_used_is_the_youngest() -> None:
    cache = Cache(1_250)
    cache.put(row(0), stamp=0)
    cache.put(row(1), stamp=0)
    taken = cache.take(KEYS[0])
    assert taken is not None
    cache.put(*taken)

    cache.put(row(2), stamp=0)

    assert [key in cache.entries for key in KEYS[:3]] == [True, False, True]


def test_a_row_larger_than_the_cache_is_not_kept() -> None:
    cache = Cache(1_000)

    cache.put(row(0, 750), stamp=0)

    assert (cache.size, len(cache.entries)) == (0, 0)


def test_a_row_larger_than_the_cache_drops_no_other() -> None:
    cache = Cache(1_000)
    cache.put(row(0, 500), stamp=0)

    cache.put(row(1, 501), stamp=0)

    assert (cache.size, list(cache.entries)) == (1_000, [KEYS[0]])


def test_its_size_is_that_of_what_it_holds() -> None:
    cache = Cache(100_000)
    for number in range(5):
        cache.put(row(number, number), stamp=0)
    for key in KEYS[1:]:
        cache.take(key)

    assert (cache.size, list(cache.entries)) == (500, [KEYS[0]])
