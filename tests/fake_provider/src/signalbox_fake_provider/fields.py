"""Strict reading of script mappings: every complaint names the place and what may stand there."""

from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")

_WORDS = {str: "a text", bool: "true or false", int: "a whole number", dict: "a mapping", list: "a list"}


class ScriptError(ValueError):
    """A script that cannot be used; the message says where and why."""


class Fields:
    """The fields of one mapping in a script, each taken once; `end` refuses those that nobody took."""

    def __init__(self, value: object, place: str) -> None:
        """Read ``value``, which stands at ``place``; raises `ScriptError` unless it is a mapping."""
        if not isinstance(value, Mapping):
            raise ScriptError(f"{place}: expected a mapping, got {value!r}")
        self.place = place
        self._left: dict[str, Any] = {str(key): item for key, item in value.items()}
        self._known: list[str] = []

    def take(self, name: str, kind: type[T]) -> T | None:
        """The field ``name``, ``None`` when absent; raises `ScriptError` unless it is of ``kind``."""
        value = self.take_any(name)
        # A bool is an int to Python and a mistake here.
        if value is None or (isinstance(value, kind) and (kind is bool or not isinstance(value, bool))):
            return value
        raise ScriptError(f"{self.place}.{name}: expected {_WORDS.get(kind, kind.__name__)}, got {value!r}")

    def take_any(self, name: str) -> Any:
        """The field ``name`` of whatever type, ``None`` when absent."""
        self._known.append(name)
        return self._left.pop(name, None)

    def take_count(self, name: str) -> int | None:
        """The field ``name`` as a whole number >= 0, ``None`` when absent."""
        value = self.take(name, int)
        if value is not None and value < 0:
            raise ScriptError(f"{self.place}.{name}: expected a number >= 0, got {value}")
        return value

    def take_texts(self, name: str) -> dict[str, str]:
        """The field ``name`` as a mapping of texts, numbers written out; empty when absent."""
        return {str(key): str(item) for key, item in (self.take(name, dict) or {}).items()}

    def end(self) -> None:
        """Raise `ScriptError` naming a field that was not taken."""
        if self._left:
            unknown, known = next(iter(self._left)), ", ".join(self._known)
            raise ScriptError(f"{self.place}.{unknown}: no such field; there are {known}")
