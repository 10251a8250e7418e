from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from signalbox.llm_gateway.admission.calendar import END_OF_TIME_MS, window_at

HOUR_MS = 3_600_000


def at(text, zone):
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2026-03-29", 23),
        ("Europe/Berlin", "2026-10-25", 25),
        ("Europe/Berlin", "2026-06-01", 24),
        ("America/Sao_Paulo", "2026-10-25", 24),
        ("America/Sao_Paulo", "2017-10-15", 23),  # midnight itself is skipped
        ("America/Havana", "2026-11-01", 25),  # 01:00 goes back to 00:00: midnight comes twice
        ("Asia/Kathmandu", "2026-03-29", 24),
        ("Australia/Lord_Howe", "2026-04-05", 24.5),
        ("UTC", "2026-03-29", 24),
    ],
)
def test_a_day_is_as_long_as_it_is_on_the_wall(zone, day, hours):
    noon = at(f"{day}T12:00", zone)
    window = window_at("day", zone, noon)
    assert window.end_ms - window.start_ms == hours * HOUR_MS
    local = datetime.fromtimestamp(window.start_ms / 1000, ZoneInfo(zone))
    assert local.date().isoformat() == day
    before = datetime.fromtimestamp((window.start_ms - 1) / 1000, ZoneInfo(zone))
    assert before.date() < local.date()
    assert window_at("day", zone, window.end_ms).start_ms == window.end_ms
    assert window_at("day", zone, window.end_ms - 1) == window


@pytest.mark.parametrize(
    "zone", ["Europe/Berlin", "Australia/Lord_Howe", "America/Havana", "Asia/Kathmandu", "UTC"]
)
@pytest.mark.parametrize("kind", ["hour", "day", "week", "month"])
def test_every_moment_of_a_year_is_in_its_window(zone, kind):
    moment = at("2026-01-01T00:00", zone)
    last = None
    while moment < at("2027-01-01T00:00", zone):
        window = window_at(kind, zone, moment)
        assert window.holds(moment)
        if kind != "hour":
            assert last is None or window == last or window.start_ms == last.end_ms
            last = window
        moment += 7 * HOUR_MS + 1_234_567


def test_weeks_begin_on_monday_and_months_on_the_first():
    moment = at("2026-03-29T12:00", "Europe/Berlin")
    week = window_at("week", "Europe/Berlin", moment)
    assert week.start_ms == at("2026-03-23T00:00", "Europe/Berlin")
    assert week.end_ms - week.start_ms == (7 * 24 - 1) * HOUR_MS
    month = window_at("month", "Europe/Berlin", moment)
    assert month.start_ms == at("2026-03-01T00:00", "Europe/Berlin")
    assert month.end_ms == at("2026-04-01T00:00", "Europe/Berlin")


def test_an_hour_that_comes_twice_is_two_windows():
    first = at("2026-10-25T02:30", "Europe/Berlin")
    windows = [window_at("hour", "Europe/Berlin", first + shift * HOUR_MS) for shift in range(2)]
    assert windows[0].end_ms == windows[1].start_ms
    assert all(window.end_ms - window.start_ms == HOUR_MS for window in windows)


def test_hours_begin_on_the_wall():
    moment = at("2026-03-01T10:20", "Asia/Kathmandu")
    assert window_at("hour", "Asia/Kathmandu", moment).start_ms == at("2026-03-01T10:00", "Asia/Kathmandu")


def test_a_total_never_ends():
    window = window_at("total", "UTC", at("2026-03-01T10:20", "UTC"))
    assert (window.start_ms, window.end_ms) == (0, END_OF_TIME_MS)
