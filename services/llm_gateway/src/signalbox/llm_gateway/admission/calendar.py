"""Windows of the calendar, as budgets have them: where they begin and end in a tenant's time zone."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from signalbox.common.record import record

WindowKind = Literal["hour", "day", "week", "month", "total"]

END_OF_TIME_MS = 253_402_300_800_000
"""The end of a window that never ends: the year 10000."""

_HOUR_S = 3600


@record
class CalendarWindow:
    """From ``start_ms`` up to, and not including, ``end_ms``; epoch milliseconds."""

    start_ms: int
    end_ms: int

    def holds(self, moment_ms: int) -> bool:
        """Whether a moment is inside."""
        return self.start_ms <= moment_ms < self.end_ms


def window_at(kind: WindowKind, zone: str, now_ms: int) -> CalendarWindow:
    """The window of its kind that holds ``now_ms`` in the time zone ``zone`` of the IANA database.

    A day lasts from midnight to midnight on the wall: 23 hours when clocks go forward, 25 when they go back. A
    midnight that is skipped is the moment of the change, one that comes twice is the first.
    """
    if kind == "total":
        return CalendarWindow(0, END_OF_TIME_MS)
    place = ZoneInfo(zone)
    local = datetime.fromtimestamp(now_ms / 1000, place)
    if kind == "hour":
        offset = local.utcoffset() or timedelta()
        shift = int(offset.total_seconds())
        start = (now_ms // 1000 + shift) // _HOUR_S * _HOUR_S - shift
        return CalendarWindow(start * 1000, (start + _HOUR_S) * 1000)
    first = _first_day(kind, local.date())
    return CalendarWindow(_midnight(first, place), _midnight(_next(kind, first), place))


def _first_day(kind: WindowKind, day: date) -> date:
    if kind == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if kind == "month" else day


def _next(kind: WindowKind, first: date) -> date:
    if kind == "month":
        return (first + timedelta(days=31)).replace(day=1)
    return first + timedelta(days=7 if kind == "week" else 1)


def _midnight(day: date, zone: ZoneInfo) -> int:
    # With fold=0 the first of two midnights; in a gap the offset before it, which names the moment of the change.
    moment = datetime.combine(day, time(), tzinfo=zone).astimezone(UTC)
    return int(moment.timestamp()) * 1000
