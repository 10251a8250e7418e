"""How much one rendering may do, counted in evaluated nodes and touched values rather than in seconds.

Counting makes the limit the same on every machine. A unit is about a tenth of a microsecond to a microsecond.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Undefined

from signalbox.common.record import record

CONTEXT_KEY = "(budget)"
"""Where a rendering's budget stands among its values; no identifier, so no template can name it."""

_CHARACTERS_PER_UNIT = 16


@record
class Limits:
    """Limits of one rendering."""

    output_chars: int = 100_000
    """Characters of the result, and of any text made on the way."""
    work: int = 500_000
    """Nodes evaluated and values touched."""
    source_chars: int = 50_000
    """Characters of a template's source."""
    source_depth: int = 60
    """Levels of a template's syntax tree."""


class LimitExceeded(ValueError):
    """A rendering has used up one of its limits."""


class Budget:
    """What is left of the limits while one rendering is under way."""

    __slots__ = ("_limits", "_output", "_work")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._work = limits.work
        self._output = limits.output_chars

    def charge(self, units: int) -> None:
        """Spend work. Raises LimitExceeded when there is none left."""
        self._work -= max(units, 0)
        if self._work < 0:
            raise LimitExceeded(
                "it does too much work; loop over less, or select less from the tool's answer"
            )

    def emit(self, characters: int) -> None:
        """Spend output. Raises LimitExceeded when the result becomes too long."""
        self._output -= characters
        if self._output < 0:
            raise LimitExceeded(f"its output is longer than {self._limits.output_chars} characters")

    def text(self, length: int) -> None:
        """Account for a text about to be made. Raises LimitExceeded when it is too long."""
        if length > self._limits.output_chars:
            raise LimitExceeded(f"it makes a text longer than {self._limits.output_chars} characters")
        self.charge(length // _CHARACTERS_PER_UNIT)

    def weigh(self, value: Any, *, given_out: bool = False) -> None:
        """Charge for every value inside a value, each as often as it is reachable.

        A list that holds another list twice is small in memory and large for whoever walks it; counting it
        as walked keeps such doubling within the limits. With ``given_out`` a value that is not there raises, wherever
        in the whole it is.
        """
        pending = [value]
        while pending:
            item = pending.pop()
            self.charge(1)
            if given_out and isinstance(item, Undefined):
                str(item)  # raises: the undefined type is strict
            elif isinstance(item, str):
                self.charge(len(item) // _CHARACTERS_PER_UNIT)
            elif isinstance(item, Mapping):
                self.charge(len(item))
                pending.extend(item.values())
            elif isinstance(item, range):
                self.charge(len(item))
            elif isinstance(item, Sequence) and not isinstance(item, bytes | bytearray):
                self.charge(len(item))
                pending.extend(item)
