"""Money and dates as people read them, without the locale of the machine."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, tzinfo
from decimal import Decimal
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_SYMBOLS = {"AUD": "A$", "CAD": "C$", "CNY": "¥", "EUR": "€", "GBP": "£", "HKD": "HK$", "INR": "₹", "JPY": "¥",
            "KRW": "₩", "TWD": "NT$", "USD": "$"}  # fmt: skip
# Minor units per ISO 4217, where they are not two.
_MINOR_DIGITS = {
    "BHD": 3,
    "CLP": 0,
    "ISK": 0,
    "JOD": 3,
    "JPY": 0,
    "KRW": 0,
    "KWD": 3,
    "OMR": 3,
    "TND": 3,
    "VND": 0,
}
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
           "November", "December")  # fmt: skip
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_DIRECTIVE = re.compile(r"%(-?[A-Za-z]|%)")
_LARGEST_AMOUNT = 10**18

_DIRECTIVES: Mapping[str, Callable[[datetime], str]] = MappingProxyType({
    "Y": lambda at: f"{at.year:04}",
    "y": lambda at: f"{at.year % 100:02}",
    "m": lambda at: f"{at.month:02}",
    "-m": lambda at: f"{at.month}",
    "d": lambda at: f"{at.day:02}",
    "-d": lambda at: f"{at.day}",
    "H": lambda at: f"{at.hour:02}",
    "-H": lambda at: f"{at.hour}",
    "I": lambda at: f"{at.hour % 12 or 12:02}",
    "-I": lambda at: f"{at.hour % 12 or 12}",
    "M": lambda at: f"{at.minute:02}",
    "S": lambda at: f"{at.second:02}",
    "p": lambda at: "AM" if at.hour < 12 else "PM",
    "B": lambda at: _MONTHS[at.month - 1],
    "b": lambda at: _MONTHS[at.month - 1][:3],
    "A": lambda at: _DAYS[at.weekday()],
    "a": lambda at: _DAYS[at.weekday()][:3],
    "u": lambda at: f"{at.isoweekday()}",
    "j": lambda at: f"{at.timetuple().tm_yday:03}",
    "%": lambda _: "%",
})  # fmt: skip


def format_money(amount: Any, currency: str) -> str:
    """An amount in the currency's minor unit (cents): ``123456, "USD"`` is ``$1,234.56``.

    Currencies without a symbol of their own here are written with their ISO 4217 code: ``12.30 CHF``.
    Raises TypeError for what is not a number, ValueError for an amount beyond 10^18.
    """
    if isinstance(amount, bool) or not isinstance(amount, int | float | Decimal):
        raise TypeError("money() takes an amount in cents")
    code = str(currency).upper()
    digits: int = _MINOR_DIGITS.get(code, 2)
    value = Decimal(str(amount)).scaleb(-digits)
    if not value.is_finite() or abs(value) >= _LARGEST_AMOUNT:
        raise ValueError("money() takes amounts below 10^18")
    sign = "-" if value < 0 else ""
    figure = f"{abs(value):,.{digits}f}"
    symbol = _SYMBOLS.get(code)
    return f"{sign}{symbol}{figure}" if symbol is not None else f"{sign}{figure} {code}"


def format_date(value: Any, form: str, timezone: str | None) -> str:
    """A date or time by ``strftime``'s directives (English names; ``%-d`` and ``%-m`` without a zero).

    ``value`` is an ISO 8601 text, milliseconds since 1970, a date or a datetime; one without a zone is taken
    as it stands. ``timezone`` is an IANA name that a time with a zone is shown in.
    """
    moment = _moment(value)
    if timezone is not None and moment.tzinfo is not None:
        moment = moment.astimezone(_zone(timezone))

    def directive(found: re.Match[str]) -> str:
        show = _DIRECTIVES.get(found.group(1))
        if show is None:
            raise ValueError(f"date() does not know %{found.group(1)}; it knows {', '.join(_DIRECTIVES)}")
        return show(moment)

    return _DIRECTIVE.sub(directive, form)


def _moment(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime.combine(value, time())
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("date() takes a date such as 2025-03-01 or 2025-03-01T12:00:00Z") from None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return datetime.fromtimestamp(value / 1000, UTC)
    raise TypeError("date() takes an ISO 8601 text or milliseconds since 1970")


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"date() does not know the time zone {name!r}") from None
