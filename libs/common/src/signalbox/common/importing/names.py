"""Ids: the names of the earlier file as identifiers of ours, and the way from one to the other."""

import re

_ALLOWED = re.compile(r"[^A-Za-z0-9_.-]+")
_MAX = 64


def identifier(name: str) -> str:
    """The nearest identifier to a name; empty where nothing of it can stand in one."""
    text = _ALLOWED.sub("_", name.strip()).strip("_.-")
    text = re.sub(r"^[^A-Za-z]+", "", text)
    return text[:_MAX].rstrip("_.-")


def plain(name: str) -> str:
    """The nearest identifier that can stand in an expression: without dots and dashes."""
    return identifier(name).replace(".", "_").replace("-", "_")


class Names:
    """Ids of one kind of part: each is given once, and found by every name that the part had."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._given: set[str] = set()
        self._found: dict[str, str] = {}

    def give(self, *wanted: str) -> str:
        """A new id: the first of the wanted names that can be one, with a number where it is taken."""
        names = [name for name in wanted if name]
        base = next((made for made in map(identifier, names) if made), f"{self._kind}_{len(self._given) + 1}")
        new, number = base, 2
        while new in self._given:
            new, number = f"{base[: _MAX - 5]}_{number}", number + 1
        self._given.add(new)
        for name in (*names, new):
            self._found.setdefault(name.strip().lower(), new)
        return new

    def find(self, name: str) -> str | None:
        """The id of the part that had this name; None where there is none."""
        return self._found.get(name.strip().lower())
