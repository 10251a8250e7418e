"""The sound part of a submitted document, as the checks that follow the structure see it."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any, TypeVar

from pydantic import BaseModel

from signalbox.common.pointers import Path
from signalbox.common.record import record
from signalbox.common.validation.salvage import Salvage
from signalbox.contracts.base import LocalizedText
from signalbox.contracts.config import Flow
from signalbox.contracts.workflow_config import WorkflowConfig

ModelT = TypeVar("ModelT", bound=BaseModel)


@record
class Node:
    """One model of the config, where it stands in the document, and the node that holds it."""

    path: Path
    model: BaseModel
    parent: "Node | None" = None

    def enclosing(self, kind: type[ModelT]) -> tuple[Path, ModelT] | None:
        """The nearest model of a kind at or above this node, with its path."""
        node: Node | None = self
        while node is not None:
            if isinstance(node.model, kind):
                return node.path, node.model
            node = node.parent
        return None


@record
class Text:
    """One text of the config as people read it."""

    path: Path
    value: LocalizedText
    node: Node

    def strings(self) -> Iterator[tuple[Path, str]]:
        """Each template in it, with its path."""
        yield from strings(self.value, self.path)


class Submission:
    """A document, the config made of its sound part, and all the models in that."""

    def __init__(self, document: dict[str, Any], config: WorkflowConfig, salvage: Salvage) -> None:
        self.document = document
        self.config = config
        self._salvage = salvage

    @cached_property
    def nodes(self) -> list[Node]:
        """Every model of the config, outermost first."""
        return list(self._walk(Node((), self.config)))

    @cached_property
    def texts(self) -> list[Text]:
        """Every localised text of the config."""
        found: list[Text] = []
        for node in self.nodes:
            for name, field in type(node.model).model_fields.items():
                value = getattr(node.model, name)
                if field.annotation in (LocalizedText, LocalizedText | None) and value is not None:
                    found.append(Text((*node.path, name), value, node))
        for node, flow in self.of(Flow):
            found += [
                Text((*node.path, "templates", key), value, node) for key, value in flow.templates.items()
            ]
        return found

    def of(self, kind: type[ModelT]) -> Iterator[tuple[Node, ModelT]]:
        """Every node whose model is of a kind."""
        for node in self.nodes:
            if isinstance(node.model, kind):
                yield node, node.model

    def intact(self, path: Path) -> bool:
        """Whether nothing directly inside the value at a path was taken out."""
        return path not in self._wounded

    @property
    def removed(self) -> set[Path]:
        """Paths of what was taken out of the document because it is broken."""
        return self._salvage.removed

    @cached_property
    def _wounded(self) -> set[Path]:
        return {path[:-1] for path in self._salvage.removed}

    def item_path(self, path: Path, index: int) -> Path:
        """The path in the document of an item of one of the config's lists."""
        return (*path, self._salvage.original_index(path, index))

    def raw(self, path: Path) -> Any:
        """The document's own value at a path; None where there is none."""
        value: Any = self.document
        for part in path:
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError):
                return None
        return value

    def names(self, path: Path) -> set[str]:
        """The keys of an object of the document; none where there is no object."""
        value = self.raw(path)
        return set(value) if isinstance(value, dict) else set()

    def declared(self, path: Path) -> list[tuple[Path, str]]:
        """The ids in a list of the document, those of its broken items too, each with the path of the id."""
        items = self.raw(path)
        return [
            ((*path, index, "id"), item["id"])
            for index, item in enumerate(items if isinstance(items, list) else [])
            if isinstance(item, dict) and isinstance(item.get("id"), str)
        ]

    def _walk(self, node: Node) -> Iterator[Node]:
        yield node
        for name in type(node.model).model_fields:
            value = getattr(node.model, name)
            path = (*node.path, name)
            if isinstance(value, BaseModel):
                yield from self._walk(Node(path, value, node))
            elif isinstance(value, list):
                for index, item in enumerate(value):
                    if isinstance(item, BaseModel):
                        yield from self._walk(Node(self.item_path(path, index), item, node))
            elif isinstance(value, dict):
                for key, item in value.items():
                    if isinstance(item, BaseModel):
                        yield from self._walk(Node((*path, key), item, node))


def strings(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    """Every text inside a JSON value, with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from strings(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from strings(item, (*path, index))
