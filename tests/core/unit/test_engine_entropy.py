"""Randomness from one seed, stretched by a counter."""

from __future__ import annotations

from durable_jobs_core.engine.entropy import Entropy


def test_equal_seeds_give_equal_numbers() -> None:
    one, other = Entropy(5), Entropy(5)

    assert [one() for _ in range(10)] == [other() for _ in range(10)]


def test_it_is_splitmix64() -> None:
    entropy = Entropy(1234567)

    assert [entropy() for _ in range(3)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


def test_no_number_comes_twice_and_all_have_64_bits() -> None:
    entropy = Entropy(0)
    numbers = [entropy() for _ in range(10_000)]

    assert len(set(numbers)) == 10_000
    assert 2**63 < max(numbers) < 2**64
