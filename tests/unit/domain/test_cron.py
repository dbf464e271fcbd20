"""Cron ticks: across changes of the clocks, and after a time in which nobody was there."""

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.cron import CATCH_UP_TICKS_MAX, PUNCTUAL_SECONDS, CatchUp, InvalidCron, cron, due

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def ticks(expression: str, zone: str, after: datetime, count: int) -> list[str]:
    return [each.strftime("%d %H:%M") for each in islice(cron(expression, zone).after(after), count)]


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        # 29 March 2026: 02:00 to 03:00 does not exist; 03:00 is 01:00 UTC.
        ("30 2 * * *", datetime(2026, 3, 28, 12, tzinfo=UTC), ["29 01:00", "30 00:30", "31 00:30"]),
        ("30 * * * *", datetime(2026, 3, 28, 23, 59, tzinfo=UTC), ["29 00:30", "29 01:30", "29 02:30"]),
        # 25 October 2026: 02:00 to 03:00 comes twice, at 00:00 and 01:00 UTC.
        ("30 2 * * *", datetime(2026, 10, 24, 12, tzinfo=UTC), ["25 00:30", "26 01:30", "27 01:30"]),
        ("30 * * * *", datetime(2026, 10, 24, 23, 59, tzinfo=UTC), ["25 00:30", "25 01:30", "25 02:30"]),
        ("*/30 2 * * *", datetime(2026, 10, 24, 12, tzinfo=UTC), ["25 00:00", "25 00:30", "25 01:00", "25 01:30"]),
    ],
)
def test_clocks_that_change_lose_nothing_and_double_nothing(
    expression: str, after: datetime, expected: list[str]
) -> None:
    assert ticks(expression, "Europe/Berlin", after, len(expected)) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("@hourly", "21 13:00"),
        (" @Daily ", "22 00:00"),
        ("@midnight", "22 00:00"),
        ("@weekly", "22 00:00"),
        ("@monthly", "01 00:00"),
        ("@yearly", "01 00:00"),
        ("@annually", "01 00:00"),
    ],
)
def test_what_cron_knows_by_name(name: str, expected: str) -> None:
    assert ticks(name, "UTC", NOON, 1) == [expected]


def test_the_second_of_two_equal_hours_does_not_run_what_the_first_has_run() -> None:
    between = datetime(2026, 10, 25, 0, 45, tzinfo=UTC)
    assert ticks("30 2 * * *", "Europe/Berlin", between, 1) == ["26 01:30"]


def test_the_zone_counts() -> None:
    assert ticks("0 9 * * MON", "Asia/Shanghai", NOON, 1) == ["23 01:00"]
    assert ticks("0 9 * * MON", "America/New_York", NOON, 1) == ["23 14:00"]


@pytest.mark.parametrize(
    ("expression", "zone", "field"),
    [
        ("* * * *", "UTC", "cron"),
        ("0 * * * * *", "UTC", "cron"),
        ("61 * * * *", "UTC", "cron"),
        ("0 0 30 2 *", "UTC", "cron"),
        ("", "UTC", "cron"),
        ("@reboot", "UTC", "cron"),
        ("* * * * *", "Europe/Atlantis", "time_zone"),
        ("* * * * *", "Europe", "time_zone"),
        ("* * * * *", "", "time_zone"),
        ("* * * * *", "../etc/passwd", "time_zone"),
    ],
)
def test_what_cannot_come_is_refused(expression: str, zone: str, field: str) -> None:
    with pytest.raises(InvalidCron) as raised:
        cron(expression, zone)
    assert raised.value.field == field


def test_a_tick_is_due_once_its_moment_has_come() -> None:
    rule = cron("0 * * * *", "UTC")
    assert due(rule, "none", NOON - timedelta(hours=1), NOON - timedelta(seconds=1)) == []
    assert due(rule, "none", NOON - timedelta(hours=1), NOON) == [NOON]
    assert due(rule, "none", NOON, NOON + timedelta(seconds=59)) == []


@pytest.mark.parametrize(
    ("catch_up", "hours"), [("none", []), ("last", [0]), ("all", [-2, -1, 0])], ids=["none", "last", "all"]
)
def test_what_passed_while_nobody_was_there(catch_up: CatchUp, hours: list[int]) -> None:
    rule = cron("0 * * * *", "UTC")
    found = due(rule, catch_up, NOON - timedelta(hours=3), NOON + timedelta(minutes=30))
    assert found == [NOON + timedelta(hours=each) for each in hours]


def test_a_successor_that_comes_quickly_misses_nothing() -> None:
    rule = cron("* * * * *", "UTC")
    now = NOON + timedelta(seconds=PUNCTUAL_SECONDS - 1)
    assert due(rule, "none", NOON - timedelta(minutes=1), now) == [NOON, NOON + timedelta(minutes=1)]


def test_catching_up_is_bounded_and_keeps_the_latest() -> None:
    found = due(cron("* * * * *", "UTC"), "all", NOON - timedelta(days=365), NOON)
    assert (len(found), found[-1]) == (CATCH_UP_TICKS_MAX, NOON)


@given(
    expression=st.sampled_from(["30 2 * * *", "*/15 * * * *", "0 */2 * * *", "15 1-3 * * *", "0 0 1 * *"]),
    zone=st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Shanghai", "UTC"]),
    begin=st.integers(0, 365 * 86400).map(
        lambda seconds: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    ),
    steps=st.lists(st.integers(1, 7200), min_size=1, max_size=40),
)
def test_however_often_one_looks_each_tick_is_due_once(
    expression: str, zone: str, begin: datetime, steps: list[int]
) -> None:
    rule = cron(expression, zone)
    last, now = begin, begin
    found: list[datetime] = []
    for step in steps:
        now += timedelta(seconds=step)
        new = due(rule, "all", last, now)
        last = max([last, *new])
        found += new
    whole = [each for each in islice(rule.after(begin), len(found) + 1) if each <= now]
    assert found == whole
