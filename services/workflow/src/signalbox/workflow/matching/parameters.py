"""Reading an intent's parameters from a message, and giving them their declared type."""

import math
import re
from collections.abc import Mapping
from typing import Any

from signalbox.common.rules import Pattern
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

    def read(self, text: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Values by name: what was given, then what each parameter's own pattern finds in the text.

        A value that does not have its parameter's type is left out, as if the message had none.
        """
        values: dict[str, Any] = {
            name: value for name, value in given.items() if name not in self._parameters
        }
        for name, parameter in self._parameters.items():
            raw = given.get(name)
            if raw is None and name in self._patterns:
                found = self._patterns[name].search(text)
                raw = found.value if found is not None else None
            if raw is None and parameter.type == "enum":
                raw = _mentioned(parameter.values, text)
            value = None if raw is None else coerce(raw, parameter)
            if value is not None:
                values[name] = value
        return values


def coerce(raw: Any, parameter: Parameter) -> Any:
    """``raw`` in the parameter's type, or None when it is not of it."""
    text = str(raw).strip()
    match parameter.type:
        case "integer":
            value = _number(text.replace(" ", ""))
            return value if isinstance(value, int) else None
        case "number":
            return _number(text)
        case "boolean":
            return {"true": True, "yes": True, "false": False, "no": False}.get(text.lower())
        case "enum":
            return next((value for value in parameter.values if value.lower() == text.lower()), None)
        case "list":
            return (
                raw if isinstance(raw, list) else [part.strip() for part in text.split(",") if part.strip()]
            )
        case _:
            return text or None


def _number(text: str) -> float | int | None:
    """A number, whole where it is; None for what is none, or is larger than JSON readers agree on."""
    plain = text.replace(",", "")
    if not _NUMBER.fullmatch(plain):
        return None
    value = float(plain)
    if not math.isfinite(value):
        return None
    if not value.is_integer():
        return value
    return int(value) if abs(value) < _EXACT else None


def _mentioned(values: list[str], text: str) -> str | None:
    """The longest of the values in the text: ``extra large`` is not ``large``."""
    lowered = text.lower()
    return max((value for value in values if value.lower() in lowered), key=len, default=None)
