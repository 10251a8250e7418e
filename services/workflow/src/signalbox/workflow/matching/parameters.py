"""Reading an intent's parameters from a message, and giving them their declared type."""

import math
import re
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from signalbox.common.reading import in_digits, read_date, read_numbers, read_yes_no
from signalbox.common.rules import Pattern, normalise, simplify
from signalbox.contracts.config import Parameter

_NUMBER = re.compile(r"[+-]?\d{1,300}(\.\d{0,300})?([eE][+-]?\d{1,3})?|[+-]?\.\d{1,300}")
_EXACT = 2**53
"""Below it every integer has a float of its own (RFC 8259, section 6)."""


class ParameterReader:
    """Reads the parameters of one intent; its patterns are compiled once."""

    def __init__(self, parameters: Mapping[str, Parameter]) -> None:
        self._parameters = dict(parameters)
        self._patterns = {
            name: Pattern(parameter.pattern)
            for name, parameter in parameters.items()
            if parameter.pattern is not None
        }
        dates = [name for name, parameter in parameters.items() if parameter.type == "date"]
        # Of two dates in a message nobody knows which is which.
        self._date = dates[0] if len(dates) == 1 and dates[0] not in self._patterns else None

    def read(self, text: str, given: Mapping[str, Any], today: Callable[[], date]) -> dict[str, Any]:
        """Values by name: what was given, then what each parameter's own pattern finds in the text.

        Members of an enum, and the date of an intent that has one, are found without a pattern. Relative dates
        count from ``today``. A value that does not have its parameter's type is left out, as if the message had none.
        """
        values: dict[str, Any] = {
            name: value for name, value in given.items() if name not in self._parameters
        }
        for name, parameter in self._parameters.items():
            raw = given.get(name)
            if raw is None and name in self._patterns:
                raw = self._found(name, parameter, text)
            if raw is None and parameter.type == "enum":
                raw = _mentioned(parameter.values, text)
            if raw is None and name == self._date:
                raw = text
            value = None if raw is None else coerce(raw, parameter, today)
            if value is not None:
                values[name] = value
        return values

    def _found(self, name: str, parameter: Parameter, text: str) -> str | None:
        """What a parameter's own pattern finds; for a number also where its digits are written as Chinese numerals."""
        found = self._patterns[name].search(text)
        if found is None and parameter.type in {"integer", "number"}:
            found = self._patterns[name].search(in_digits(text))
        return None if found is None else found.value


def coerce(raw: Any, parameter: Parameter, today: Callable[[], date]) -> Any:
    """``raw`` in the parameter's type, or None when it is not of it; a date as ISO 8601 has it."""
    text = str(raw).strip()
    match parameter.type:
        case "integer":
            value = _number(text.replace(" ", ""))
            return value if isinstance(value, int) else None
        case "number":
            return _number(text)
        case "boolean":
            return read_yes_no(text)
        case "date":
            day = read_date(text, today())
            return None if day is None else day.isoformat()
        case "enum":
            return next((value for value in parameter.values if _plain(value) == _plain(text)), None)
        case "list":
            return (
                raw if isinstance(raw, list) else [part.strip() for part in text.split(",") if part.strip()]
            )
        case _:
            return text or None


def _number(text: str) -> float | int | None:
    """A number, whole where it is; None for what is none, or is larger than JSON readers agree on."""
    plain = text.replace(",", "")
    if _NUMBER.fullmatch(plain):
        value = float(plain)
    else:
        words = [] if any(character.isdigit() for character in text) else read_numbers(text)
        if len(words) != 1:
            return None
        value = float(words[0])
    if not math.isfinite(value):
        return None
    if not value.is_integer():
        return value
    return int(value) if abs(value) < _EXACT else None


def _mentioned(values: list[str], text: str) -> str | None:
    """The longest of the values in the text: ``extra large`` is not ``large``."""
    plain = _plain(text)
    return max((value for value in values if _plain(value) in plain), key=len, default=None)


def _plain(text: str) -> str:
    """Of one case, width and script."""
    return simplify(normalise(text)).lower()
