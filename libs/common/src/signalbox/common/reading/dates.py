"""Dates in a message, absolute or relative to a given day."""

import re
from collections.abc import Callable
from datetime import date, timedelta

from signalbox.common.reading.numbers import chinese_number
from signalbox.common.rules import normalise, simplify

_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "january jan", "february feb", "march mar", "april apr", "may", "june jun", "july jul",
            "august aug", "september sep sept", "october oct", "november nov", "december dec",
        ),
        1,
    )
    for name in names.split()
}  # fmt: skip
_MONTH = "|".join(sorted(_MONTHS, key=len, reverse=True))
_WEEKDAYS = {
    name: number
    for number, names in enumerate(
        (
            "monday mon", "tuesday tue tues", "wednesday wed", "thursday thu thurs", "friday fri", "saturday sat",
            "sunday sun",
        )
    )
    for name in names.split()
}  # fmt: skip
_WEEKDAY = "|".join(sorted(_WEEKDAYS, key=len, reverse=True))
_RELATIVE = (
    ("day after tomorrow", 2), ("day before yesterday", -2), ("tomorrow", 1), ("yesterday", -1), ("today", 0),
    ("tonight", 0),
    ("今晚", 0), ("明早", 1), ("明晚", 1), ("大后天", 3), ("大前天", -3), ("后天", 2), ("前天", -2),
    ("明天", 1), ("昨天", -1), ("今天", 0),
)  # fmt: skip
_UNIT_DAYS = {"day": 1, "days": 1, "week": 7, "weeks": 7, "天": 1, "周": 7, "个星期": 7, "星期": 7}
_ZH_WEEKDAYS = {character: number for number, character in enumerate("一二三四五六日")} | {"天": 6}
_NTH = "(?:st|nd|rd|th)?"
_NUMERAL = r"\d{1,4}|[一二两三四五六七八九十]{1,3}"
_ZH_YEAR = r"\d{4}|[零〇一二三四五六七八九]{4}"

_Reader = Callable[[re.Match[str], date], date | None]


def read_date(text: str, today: date) -> date | None:
    """The first date that a message names; None without one, or when day and month cannot be told apart.

    A date without a year is its next occurrence, a weekday the next one after ``today``; so is a day of the month.
    """
    plain = simplify(normalise(text)).casefold()
    for pattern, reader in _READERS:
        match = pattern.search(plain)
        if match is not None:
            try:
                found = reader(match, today)
            except (ValueError, OverflowError):
                continue
            if found is not None:
                return found
    return None


def _year_first(match: re.Match[str], _: date) -> date:
    return date(int(match[1]), int(match[2]), int(match[3]))


def _dotted(match: re.Match[str], today: date) -> date:
    return _dated(int(match[1]), int(match[2]), match[3], today)


def _slashed(match: re.Match[str], _: date) -> date | None:
    first, second, year = int(match[1]), int(match[2]), int(match[3])
    if first > 12:
        return date(year, second, first)
    if second > 12 or first == second:
        return date(year, first, second)
    return None


def _day_month(match: re.Match[str], today: date) -> date:
    return _dated(int(match[1]), _MONTHS[match[2]], match[3], today)


def _month_day(match: re.Match[str], today: date) -> date:
    return _dated(int(match[2]), _MONTHS[match[1]], match[3], today)


def _chinese(match: re.Match[str], today: date) -> date:
    year = None if match[1] is None else str(_value(match[1]))
    return _dated(_value(match[3]), _value(match[2]), year, today)


def _day_of_month(match: re.Match[str], today: date) -> date:
    """``下个月五号``, ``这个月五号``, or ``五号`` alone: then the next one that there is."""
    day, ahead = _value(match[2]), {"下": 1}.get(match[1] or "", 0)
    found = _in_month(today, ahead, day)
    if match[1] is None and (found is None or found < today):
        found = next(day_ for later in (1, 2) if (day_ := _in_month(today, later, day)) is not None)
    if found is None:
        raise ValueError("this month has no such day")
    return found


def _in_month(today: date, ahead: int, day: int) -> date | None:
    years, month = divmod(today.month - 1 + ahead, 12)
    try:
        return date(today.year + years, month + 1, day)
    except ValueError:
        return None


def _dated(day: int, month: int, year: str | None, today: date) -> date:
    if year:
        return date(int(year), month, day)
    this_year = date(today.year, month, day)
    return this_year if this_year >= today else date(today.year + 1, month, day)


def _named_day(match: re.Match[str], today: date) -> date:
    return today + timedelta(days=dict(_RELATIVE)[match[0]])


def _counted_on(match: re.Match[str], today: date) -> date:
    return today + timedelta(days=_value(match[1]) * _UNIT_DAYS[match[2]])


def _counted_back(match: re.Match[str], today: date) -> date:
    return today - timedelta(days=_value(match[1]) * _UNIT_DAYS[match[2]])


def _weekday(match: re.Match[str], today: date) -> date:
    ahead = (_WEEKDAYS[match[2]] - today.weekday() - 1) % 7 + 1
    return today + timedelta(days=ahead - 7 if match[1] == "last" else ahead)


def _chinese_weekday(match: re.Match[str], today: date) -> date:
    weekday = _ZH_WEEKDAYS[match[2]]
    monday = today - timedelta(days=today.weekday())
    weeks = {"下": 1, "下下": 2, "上": -1, "上上": -2}.get(match[1] or "")
    if weeks is not None:
        return monday + timedelta(days=7 * weeks + weekday)
    this_week = monday + timedelta(days=weekday)
    return this_week if match[1] or this_week > today else this_week + timedelta(days=7)


def _value(written: str) -> int:
    return int(written) if written.isdigit() else chinese_number(written)


_READERS: tuple[tuple[re.Pattern[str], _Reader], ...] = (
    (re.compile(r"(?<!\d)(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?!\d)"), _year_first),
    (re.compile(r"(?<!\d)(\d{1,2})\.\s?(\d{1,2})\.(?:\s?(\d{4}))?(?!\d)"), _dotted),
    (re.compile(r"(?<!\d)(\d{1,2})/(\d{1,2})/(\d{4})(?!\d)"), _slashed),
    (re.compile(rf"(?<!\d)(\d{{1,2}}){_NTH}\.?\s+(?:of\s+)?({_MONTH})\b\.?(?:,?\s+(\d{{4}}))?"), _day_month),
    (re.compile(rf"\b({_MONTH})\b\.?\s+(\d{{1,2}}){_NTH}\b(?:,?\s+(\d{{4}}))?"), _month_day),
    (re.compile(rf"(?:({_ZH_YEAR})年)?({_NUMERAL})月({_NUMERAL})[日号]"), _chinese),
    (
        re.compile(
            rf"(?:([下这本])个?月|(?<![月第\d零一二两三四五六七八九十]))({_NUMERAL})[日号](?![线楼店门机台房码])"
        ),
        _day_of_month,
    ),
    (re.compile(r"\bin\s+(\d{1,4})\s+(days?|weeks?)\b"), _counted_on),
    (re.compile(r"\b(\d{1,4})\s+(days?|weeks?)\s+from\s+(?:now|today)\b"), _counted_on),
    (re.compile(r"\b(\d{1,4})\s+(days?|weeks?)\s+ago\b"), _counted_back),
    (re.compile(rf"({_NUMERAL})(天|周|个星期|星期)(?:之|以)?后"), _counted_on),
    (re.compile(rf"({_NUMERAL})(天|周|个星期|星期)(?:之|以)?前"), _counted_back),
    (re.compile("|".join(word for word, _ in _RELATIVE)), _named_day),
    (re.compile(rf"\b(?:(this|next|last|on)\s+)?({_WEEKDAY})\b"), _weekday),
    (re.compile(r"(下下|上上|下|上|本|这)?个?(?:周|星期|礼拜)([一二三四五六日天])"), _chinese_weekday),
)
