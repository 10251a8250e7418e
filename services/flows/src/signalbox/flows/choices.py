"""Picking one of several values by what a person wrote: value, label, synonym, or place in the list."""

from collections.abc import Sequence

from signalbox.common.reading import plain, read_place
from signalbox.common.rules import Pattern, keyword_rule, normalise
from signalbox.contracts.base import LocalizedText
from signalbox.contracts.config import EnumValue

_SHORTEST_WITHIN = 3


class Choices:
    """The allowed values of an ``enum`` slot, or of the items of a ``list``."""

    def __init__(self, values: Sequence[EnumValue]) -> None:
        self.values = list(values)
        self._exact: dict[str, str] = {}
        self._within: list[tuple[Pattern, str]] = []
        for value in values:
            for name in (value.value, *texts_of(value.label), *value.synonyms):
                self._exact.setdefault(plain(name), value.value)
                if len(name) >= _SHORTEST_WITHIN or not name.isascii():
                    rule = keyword_rule(0, name)
                    self._within.append((Pattern(rule.exact or rule.pattern), value.value))

    def is_name(self, text: str) -> bool:
        """Whether a text is a value or a name of one, and nothing else."""
        return plain(text) in self._exact

    def is_whole(self, message: str) -> bool:
        """Whether a message is a value, a name of one or a place in the list, and nothing else."""
        said = plain(message)
        return said in self._exact or self._by_place(said) is not None

    def pick(self, message: str) -> str | None:
        """The value that a message names; None when it names none, or several.

        A short code such as ``IT`` counts only as the whole message.
        """
        said = plain(message)
        if said in self._exact:
            return self._exact[said]
        text = normalise(message)
        found = {value for pattern, value in self._within if pattern.search(text)}
        if len(found) == 1:
            return found.pop()
        if found:
            return None
        return self._by_place(message)

    def _by_place(self, message: str) -> str | None:
        place = read_place(message)
        if place is None or not -1 <= place < len(self.values):
            return None
        return self.values[place].value if self.values else None


def texts_of(label: LocalizedText | None) -> list[str]:
    """The variations of a text in all languages."""
    if label is None:
        return []
    if isinstance(label, str):
        return [label]
    if isinstance(label, list):
        return label
    return [text for value in label.values() for text in ([value] if isinstance(value, str) else value)]
