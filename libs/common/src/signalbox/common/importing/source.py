"""Reading an object of the earlier format: by any of several names, and with an eye on what nobody read."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from signalbox.common.importing.report import Report
from signalbox.common.pointers import Path
from signalbox.common.record import record
from signalbox.common.validation.secrets_check import is_secret_name

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_TRUE = frozenset({"true", "yes", "on", "1", "enabled", "是"})
_FALSE = frozenset({"false", "no", "off", "0", "disabled", "否"})
_LANGUAGE = re.compile(
    r"(?:ar|cs|da|de|el|en|es|fi|fr|he|hi|hu|it|ja|ko|ms|nl|pl|pt|ro|ru|sv|th|tr|uk|vi|yue|zh)"
    r"(?:[-_][A-Za-z0-9]{2,8})*\Z"
)
_TEXT_KEYS = ("text", "content", "message", "value", "template")


def plain_name(name: str) -> str:
    """A key in one spelling: ``triggerPatterns`` and ``Trigger-Patterns`` are ``trigger_patterns``."""
    return re.sub(r"[\s-]+", "_", _HUMP.sub("_", name.strip())).lower()


class Source:
    """One object, its place in the file, and which of its keys were read.

    Every method takes the names that a key may have, the first one that is there wins. ``close`` reports what
    was not read.
    """

    def __init__(self, value: Mapping[str, Any], path: Path, report: Report) -> None:
        self.value = value
        self.path = path
        self.report = report
        self._keys: dict[str, str] = {}
        for key in value:
            self._keys.setdefault(plain_name(key), key)
        self._read: set[str] = set()

    def has(self, *names: str) -> bool:
        """Whether a key is there, with a value."""
        key = self._key(names)
        return key is not None and self.value[key] is not None

    def at(self, *names: str) -> Path:
        """The path of a key; of the object where there is none."""
        key = self._key(names)
        return (*self.path, key) if key is not None else self.path

    def take(self, *names: str) -> Any:
        """The value of a key, whatever it is; None where there is none."""
        key = self._key(names)
        if key is None:
            return None
        self._read.add(key)
        return self.value[key]

    def text(self, *names: str) -> str:
        """A text; a list of texts is joined by lines, an object with a ``text`` is that."""
        path = self.at(*names)
        return self._as_text(self.take(*names), path)

    def texts(self, *names: str) -> list[tuple[Path, str]]:
        """Texts, each with its path: a list of them, one alone, or one with several lines."""
        path = self.at(*names)
        value = self.take(*names)
        if isinstance(value, list):
            read = [((*path, index), self._as_text(item, (*path, index))) for index, item in enumerate(value)]
        elif isinstance(value, Mapping):
            read = [((*path, key), self._as_text(item, (*path, key))) for key, item in value.items()]
        else:
            text = self._as_text(value, path)
            read = [(path, line) for line in text.splitlines()]
        return [(place, text.strip()) for place, text in read if text.strip()]

    def number(self, *names: str, low: float, high: float, scale: float = 1) -> float | None:
        """A number times ``scale``, within bounds; one outside is brought in and reported."""
        path = self.at(*names)
        value = self.take(*names)
        if value is None or value == "":
            return None
        try:
            number = float(value) * scale if not isinstance(value, bool) else float("nan")
        except (TypeError, ValueError, OverflowError):
            number = float("nan")
        if number != number or number in (float("inf"), float("-inf")):  # noqa: PLR0124 - NaN
            self.report.lost(path, "a number", "it cannot be read as one.", "Set it by hand.")
            return None
        if not low <= number <= high:
            self.report.changed(
                path, "a number", f"it is outside of {low:g} to {high:g} and was brought inside."
            )
        return min(max(number, low), high)

    def whole(self, *names: str, low: int, high: int, scale: float = 1) -> int | None:
        """As ``number``, rounded to a whole one."""
        number = self.number(*names, low=low, high=high, scale=scale)
        return None if number is None else round(number)

    def flag(self, *names: str, default: bool) -> bool:
        """True or false."""
        path = self.at(*names)
        value = self.take(*names)
        if value is None or isinstance(value, bool):
            return default if value is None else value
        word = str(value).strip().lower()
        if word in _TRUE | _FALSE:
            return word in _TRUE
        self.report.lost(path, "a switch", "it is neither true nor false.", "Set it by hand.")
        return default

    def object(self, *names: str) -> "Source | None":
        """An object inside, to be read and closed by itself; None where there is none. Anything else is reported."""
        key = self._key(names)
        if key is None or not isinstance(self.value[key], Mapping):
            return None
        self._read.add(key)
        return Source(self.value[key], (*self.path, key), self.report)

    def entries(self, *names: str, words: str = "name") -> list["Entry"]:
        """The items of a list, or of an object keyed by id; one that is a text alone is an object with ``words``."""
        path = self.at(*names)
        return entries(self.take(*names), path, self.report, words)

    def renamed(self, key: str, name: str, value: Any) -> "Source":
        """The same object with one key replaced by another; what was read stays read."""
        kept = {each: item for each, item in self.value.items() if each != key}
        made = Source({**kept, name: value}, self.path, self.report)
        made._read = set(self._read)
        return made

    def close(self) -> None:
        """Report every key that nobody read and that says something."""
        for key, value in self.value.items():
            if key in self._read or value is None or value in ("", [], {}):
                continue
            report_credentials(value, (*self.path, key), self.report)
            self.report.lost(
                (*self.path, key),
                f"the field `{key}`",
                "nothing here means the same, or it is not known.",
                "If it matters, say it in a field of the config reference; else remove it.",
            )

    def _key(self, names: tuple[str, ...]) -> str | None:
        found = (self._keys[name] for name in names if name in self._keys)
        keys = list(found)
        return next((key for key in keys if self.value[key] is not None), keys[0] if keys else None)

    def _as_text(self, value: Any, path: Path) -> str:
        if value is None:
            return ""
        if isinstance(value, str):
            return value
        if isinstance(value, bool | int | float):
            return str(value)
        if isinstance(value, list) and all(isinstance(item, str | int | float) for item in value):
            return "\n".join(str(item) for item in value)
        if isinstance(value, Mapping):
            for name in _TEXT_KEYS:
                if isinstance(value.get(name), str):
                    for key in value.keys() - {name}:
                        self.report.lost(
                            (*path, key),
                            f"the field `{key}`",
                            "only the text is read here.",
                            "If it matters, add it by hand.",
                        )
                    return str(value[name])
        self.report.lost(path, "a text", "it is neither a text nor a list of texts.", "Write it by hand.")
        return ""


@record
class Entry:
    """One item of a collection."""

    path: Path
    key: str
    """Its key, where the collection is an object; else empty."""
    source: Source


def entries(value: Any, path: Path, report: Report, words: str = "name") -> list[Entry]:
    """The items of a list, or of an object keyed by id; what is neither is reported."""
    found: list[Entry] = []
    for place, key, item in _items(value, path, report):
        if isinstance(item, str | int) and not isinstance(item, bool):
            found.append(Entry(place, key, Source({words: str(item)}, place, report)))
        elif isinstance(item, Mapping):
            found.append(Entry(place, key, Source(item, place, report)))
        elif item is not None:
            report.lost(place, "an item", "it is neither an object nor a name.", "Write it by hand.")
    return found


def report_credentials(value: Any, path: Path, report: Report) -> None:
    """Note the credentials in a part of the file that nobody reads."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            report_credentials(item, (*path, key), report)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            report_credentials(item, (*path, index), report)
    elif isinstance(value, str) and value and is_secret_name(str(path[-1])):
        report.secret(path, None)


def is_localized(value: Any) -> bool:
    """Whether an object holds one text by language."""
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(_LANGUAGE.match(str(key)) for key in value)
        and all(isinstance(text, str | list) for text in value.values())
    )


def _items(value: Any, path: Path, report: Report) -> Iterator[tuple[Path, str, Any]]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield (*path, index), "", item
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield (*path, key), key, item
    elif isinstance(value, str) and value:
        yield path, "", value
    elif value is not None and value != "":
        report.lost(path, "a collection", "it is neither a list nor an object.", "Write it by hand.")
