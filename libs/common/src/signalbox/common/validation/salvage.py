"""What is left of a document when its broken parts are taken out, and where each part stood before."""

import copy
from typing import Any

from signalbox.common.pointers import Path


class Salvage:
    """A copy of a document that parts are removed from. Paths given and returned are the original's."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.tree: dict[str, Any] = copy.deepcopy(document)
        self.removed: set[Path] = set()
        self._kept: dict[Path, list[int]] = {}
        self._document = document

    def original(self, path: Path) -> Path:
        """The original path of a place in ``tree``."""
        found: Path = ()
        for part in path:
            kept = self._kept.get(found)
            found = (
                *found,
                kept[part] if kept is not None and isinstance(part, int) and part < len(kept) else part,
            )
        return found

    def original_index(self, list_path: Path, index: int) -> int:
        """The original index of an item of a list of ``tree`` whose original path is known."""
        kept = self._kept.get(list_path)
        return kept[index] if kept is not None else index

    def remove(self, path: Path) -> bool:
        """Take out the value at an original path. False where there is none (any more), or it is the document."""
        container: Any = self.tree
        for depth, part in enumerate(path[:-1]):
            container = self._child(container, path[:depth], part)
        if not path or self._child(container, path[:-1], path[-1]) is _NOTHING:
            return False
        last = path[-1]
        if isinstance(container, list) and isinstance(last, int):
            kept = self._kept.setdefault(path[:-1], list(range(len(container))))
            position = kept.index(last)
            del kept[position], container[position]
        else:
            del container[last]
        self.removed.add(path)
        return True

    def _child(self, container: Any, list_path: Path, part: str | int) -> Any:
        if isinstance(container, list) and isinstance(part, int):
            kept = self._kept.get(list_path)
            if kept is None:
                return container[part] if part < len(container) else _NOTHING
            return container[kept.index(part)] if part in kept else _NOTHING
        if isinstance(container, dict) and part in container:
            return container[part]
        return _NOTHING


_NOTHING = object()
