"""Records kept after their commit: bounded in bytes, the least recently used go first."""

from __future__ import annotations

from support.samples import number

from durable_jobs_core.engine.cache import Cache
from durable_jobs_core.record import ContinuousBody, Record
from durable_jobs_core.words import Key, Revision

KEYS = [Key("continuous", "tick", str(i)) for i in range(5)]
BODY = ContinuousBody(state=number(0), next_at=None)
RECORD = Record(revision=Revision(1, 2, 3), writers=((3, 2),), created_at=0, at=0, seq=0, body=BODY)


def test_what_was_put_is_taken_once() -> None:
    cache = Cache(10_000)
    cache.put(KEYS[0], RECORD, stamp=7, size=50)

    assert [cache.take(KEYS[0]), cache.take(KEYS[0])] == [(RECORD, 7, 50), None]


def test_what_was_not_put_is_not_there() -> None:
    assert Cache(10_000).take(KEYS[0]) is None


def test_what_no_longer_fits_goes_oldest_first() -> None:
    cache = Cache(3_500)
    for key in KEYS[:4]:
        cache.put(key, RECORD, stamp=0, size=0)

    assert [key in cache.entries for key in KEYS[:4]] == [False, True, True, True]


def test_what_was_used_is_the_youngest() -> None:
    cache = Cache(2_500)
    cache.put(KEYS[0], RECORD, stamp=0, size=0)
    cache.put(KEYS[1], RECORD, stamp=0, size=0)
    taken = cache.take(KEYS[0])
    assert taken is not None
    cache.put(KEYS[0], *taken)

    cache.put(KEYS[2], RECORD, stamp=0, size=0)

    assert [key in cache.entries for key in KEYS[:3]] == [True, False, True]


def test_a_record_larger_than_the_cache_is_not_kept() -> None:
    cache = Cache(2_000)

    cache.put(KEYS[0], RECORD, stamp=0, size=1_500)

    assert (cache.size, len(cache.entries)) == (0, 0)


def test_its_size_is_that_of_what_it_holds() -> None:
    cache = Cache(100_000)
    for size, key in enumerate(KEYS):
        cache.put(key, RECORD, stamp=0, size=size)
    for key in KEYS[1:]:
        cache.take(key)

    assert cache.size == sum(size for _, _, size in cache.entries.values()) == 1_000
