"""Cron against a dumb model: list the minutes of some days, and keep those that match (S-32, S-33)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from durable_jobs_core.cron import Cron
from durable_jobs_core.schedule import latest_tick
from durable_jobs_core.words import from_datetime, to_datetime

MINUTE = 60_000
CHANGES = [  # a zone, and a day in UTC about which its clocks change
    ("America/New_York", "2024-03-10"),
    ("America/New_York", "2024-11-03"),
    ("Europe/London", "2024-10-27"),
    ("Europe/Dublin", "2024-03-31"),
    ("Australia/Lord_Howe", "2024-10-05"),
    ("Australia/Lord_Howe", "2024-04-06"),
    ("America/Sao_Paulo", "2018-11-04"),
    ("America/Sao_Paulo", "2018-02-18"),
    ("Africa/Casablanca", "2024-03-10"),
    ("Asia/Kolkata", "2024-03-10"),
    ("Pacific/Apia", "2011-12-30"),
]

minutes = st.sampled_from(["*", "*/15", "0", "30", "10-40/15", "50/5", "0,59"])
fixed_hours = st.lists(st.integers(0, 23), min_size=1, max_size=3).map(lambda hs: ",".join(map(str, hs)))
ranges = st.sampled_from(["*", "*/2", "0-3", "1-2", "22/1", "0-0"])


def numbers(field: str, size: int) -> set[int]:
    """The numbers of a minute or hour field, as S-32 reads it."""
    found: set[int] = set()
    for term in field.split(","):
        span, _, step = term.partition("/")
        first, _, last = span.partition("-")
        low = 0 if first == "*" else int(first)
        high = int(last) if last else size - 1 if first == "*" or step else low
        found.update(range(low, high + 1, int(step or 1)))
    return found


def model(minute: str, hour: str, tz: str, day: str) -> list[int]:
    """All ticks within two days of `day`, by looking at each minute."""
    zone = ZoneInfo(tz)
    middle = datetime.fromisoformat(day).replace(tzinfo=UTC)
    beginning = from_datetime(middle - timedelta(days=2))
    instants = [beginning + n * MINUTE for n in range(4 * 24 * 60)]
    walls = [to_datetime(instant).astimezone(zone).replace(tzinfo=None, fold=0) for instant in instants]
    hours, at = numbers(hour, 24), numbers(minute, 60)
    if any(sign in hour for sign in "*-/"):
        return [
            i for i, wall in zip(instants, walls, strict=True) if wall.hour in hours and wall.minute in at
        ]
    found: set[int] = set()
    wall = walls[0]
    latest = walls[0]
    for instant, reached in zip(instants, walls, strict=True):
        latest = max(latest, reached)
        while wall <= latest:  # each time on the wall once: when it is reached, or leapt over
            if wall.hour in hours and wall.minute in at:
                found.add(instant)
            wall += timedelta(minutes=1)
    return sorted(found)


@given(
    minute=minutes,
    hour=fixed_hours | ranges,
    change=st.sampled_from(CHANGES),
    offset=st.integers(0, 36 * 60 * MINUTE),
    seconds=st.booleans(),
)
def test_S_32_S_33_every_tick_is_the_models(
    minute: str, hour: str, change: tuple[str, str], offset: int, seconds: bool
) -> None:
    tz, day = change
    cron = Cron.parse(f"{'0 ' if seconds else ''}{minute} {hour} * * *", tz)
    beginning = from_datetime(datetime.fromisoformat(day).replace(tzinfo=UTC)) - 18 * 60 * MINUTE
    instant = beginning + offset

    expected = [tick for tick in model(minute, hour, tz, day) if tick > instant][:5]
    for tick in expected:
        assert cron.next_after(instant) == tick
        instant = tick


@given(
    expression=st.tuples(minutes, fixed_hours | ranges, st.sampled_from(["* * *", "*/9 * 3", "L 2 *"])),
    tz=st.sampled_from([zone for zone, _ in CHANGES]),
    instants=st.tuples(*[st.integers(0, 4_000_000_000_000)] * 2),
)
def test_S_33_a_tick_is_later_than_what_it_is_computed_from_and_none_is_passed_over(
    expression: tuple[str, str, str], tz: str, instants: tuple[int, int]
) -> None:
    cron = Cron.parse(" ".join(expression), tz)
    earlier, later = sorted(instants)

    tick = cron.next_after(earlier)

    assert tick > earlier
    assert tick % 1_000 == 0
    assert cron.next_after(tick - 1) == tick
    assert tick <= cron.next_after(later)


@given(
    minute=minutes,
    hour=fixed_hours | ranges,
    tz=st.sampled_from([zone for zone, _ in CHANGES]),
    tick=st.integers(1_300_000_000_000, 1_800_000_000_000),
    late=st.integers(0, 90 * 86_400_000),
)
def test_S_33_the_latest_tick_has_passed_and_the_one_after_it_has_not(
    minute: str, hour: str, tz: str, tick: int, late: int
) -> None:
    cron = Cron.parse(f"{minute} {hour} * * *", tz)
    first = cron.next_after(tick)
    now = first + late

    latest = latest_tick(cron, first, now)

    assert first <= latest <= now < cron.next_after(latest)
    assert cron.next_after(latest - 1) == latest
