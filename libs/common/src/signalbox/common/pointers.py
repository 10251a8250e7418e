"""JSON pointers, RFC 6901."""

from collections.abc import Iterable

PathPart = str | int
Path = tuple[PathPart, ...]


def pointer(path: Iterable[PathPart]) -> str:
    """The pointer of a path of keys and indexes: ``("a/b", 0)`` is ``/a~1b/0``; the empty path is ``""``."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path)
