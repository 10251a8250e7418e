"""YAML as a way to write JSON: YAML 1.2's core schema, no tags, no merge keys, aliases written out within limits.

The reading is done on the parser's events: PyYAML's own constructors know YAML 1.1 (``no`` is false there),
build Python objects for tags, and share what aliases repeat.
"""

import re
from typing import Any, NoReturn

import yaml

from signalbox.common.document_errors import DocumentTooLarge, DocumentUnreadable

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?[0-9]{1,400}\Z")
_OTHER_BASE = re.compile(r"0o[0-7]{1,40}\Z|0x[0-9a-fA-F]{1,40}\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_NOT_A_NUMBER = re.compile(r"[-+]?\.(?:inf|Inf|INF)\Z|\.(?:nan|NaN|NAN)\Z")
_LOADER: Any = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader


class _YamlBuilder:
    """Builds one document from YAML events, without recursion; an alias costs what it repeats."""

    def __init__(self, max_depth: int, max_nodes: int) -> None:
        self.root: Any = None
        self._documents = 0
        self._max_depth = max_depth
        self._nodes_left = max_nodes
        self._anchors: dict[str, Any] = {}
        self._open_anchors: list[str | None] = []
        self._open: list[dict[str, Any] | list[Any]] = []
        self._keys: list[str | None] = []

    def take(self, event: yaml.Event) -> None:
        """Take the next event of the stream."""
        if isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._refuse(event, "one file holds one document; remove what follows `---`.")
        elif isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.MappingStartEvent):
            self._begin(event, {})
        elif isinstance(event, yaml.SequenceStartEvent):
            self._begin(event, [])
        elif isinstance(event, yaml.CollectionEndEvent):
            value = self._open.pop()
            self._keys.pop()
            if (anchor := self._open_anchors.pop()) is not None:
                self._anchors[anchor] = value

    def _alias(self, event: yaml.AliasEvent) -> None:
        if event.anchor not in self._anchors:
            self._refuse(event, f"there is no finished anchor {event.anchor!r} before this alias.")
        if self._expects_key():
            self._refuse(event, "a key must be a text.")
        self._add(self._copy(self._anchors[event.anchor]))

    def _copy(self, value: Any) -> Any:
        """A copy, so that no two places share a value; its depth is bounded, since it was built here."""
        self._count()
        if isinstance(value, dict):
            return {key: self._copy(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._copy(item) for item in value]
        return value

    def _count(self) -> None:
        self._nodes_left -= 1
        if self._nodes_left < 0:
            raise DocumentTooLarge(
                "The document holds too many values, those that its aliases repeat included."
            )

    def _begin(self, event: yaml.CollectionStartEvent, container: dict[str, Any] | list[Any]) -> None:
        if event.tag is not None:
            self._refuse(event, f"the tag {event.tag!r} is not read; remove it.")
        if len(self._open) >= self._max_depth:
            raise DocumentTooLarge(f"The document is nested deeper than {self._max_depth} levels.")
        if self._expects_key():
            self._refuse(event, "a key must be a text.")
        self._count()
        self._add(container)
        self._open.append(container)
        self._open_anchors.append(event.anchor)
        self._keys.append(None)

    def _expects_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1], dict) and self._keys[-1] is None

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        if event.tag not in (None, "!", "tag:yaml.org,2002:str"):
            self._refuse(event, f"the tag {event.tag!r} is not read; remove it.")
        if self._expects_key():
            mapping = self._open[-1]
            if event.value in mapping:
                self._refuse(event, f"the key {event.value!r} is given twice in one mapping.")
            if event.value == "<<" and event.implicit[0]:
                self._refuse(
                    event,
                    "merge keys (`<<`) are not read; repeat the members, or use an alias for a whole value.",
                )
            self._keys[-1] = event.value
            return
        self._count()
        plain = event.implicit[0] and event.tag is None
        value = self._resolve(event) if plain else event.value
        if event.anchor is not None:
            self._anchors[event.anchor] = value
        self._add(value)

    def _resolve(self, event: yaml.ScalarEvent) -> Any:
        text: str = event.value
        if text in _NULL:
            return None
        if text in _BOOLEANS:
            return _BOOLEANS[text]
        if _INTEGER.match(text):
            return int(text)
        if _OTHER_BASE.match(text):
            return int(text[2:], 8 if text[1] == "o" else 16)
        if _NOT_A_NUMBER.match(text):
            self._refuse(event, f"{text} is not JSON; leave it out or write null.")
        return float(text) if _FLOAT.match(text) else text

    def _add(self, value: Any) -> None:
        if not self._open:
            self.root = value
            return
        container = self._open[-1]
        if isinstance(container, list):
            container.append(value)
        else:
            container[self._keys[-1] or ""] = value
            self._keys[-1] = None

    def _refuse(self, event: yaml.Event, reason: str) -> NoReturn:
        mark = event.start_mark
        if mark is None:
            raise DocumentUnreadable(reason)
        raise DocumentUnreadable(reason, line=mark.line + 1, column=mark.column + 1)


def read_yaml(text: str, *, max_depth: int, max_nodes: int) -> Any:
    """The one document in a YAML text.

    Raises:
        DocumentTooLarge: deeper than ``max_depth`` levels, or more than ``max_nodes`` values with all aliases
            written out.
        DocumentUnreadable: a syntax error, or what JSON cannot say.
    """
    builder = _YamlBuilder(max_depth, max_nodes)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = ", ".join(part for part in (error.context, error.problem) if part)
        if mark is None:
            raise DocumentUnreadable(f"{reason}.") from None
        raise DocumentUnreadable(f"{reason}.", line=mark.line + 1, column=mark.column + 1) from None
    except yaml.YAMLError as error:
        raise DocumentUnreadable(f"{' '.join(str(error).split())}.") from None
    except UnicodeEncodeError:
        raise DocumentUnreadable("a text holds half of a surrogate pair; write it whole.") from None
    return builder.root
