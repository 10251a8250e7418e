"""A workflow file that tools are put into: the text around them stays as its author wrote it."""

from pathlib import Path
from typing import Any

import orjson
import yaml

from signalbox.common.documents import Document, parse
from signalbox.common.errors import NotFound
from signalbox.common.importing import as_yaml
from signalbox.tools.importing.imported import Imported


class WorkflowFile:
    """A workflow as JSON or YAML.

    Raises:
        NotFound: there is no such file.
        DocumentUnreadable: it is no document.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise NotFound(f"{path} cannot be read: {error.strerror}.") from error
        self.document: Document = parse(self._text)
        self.kept = True
        """Whether everything but what was asked for is as it was, comments too."""

    def add(self, imported: Imported) -> list[str]:
        """Add tools and the variables that they use; gives the ids of those that are there already."""
        tools = self.document.get("tools", [])
        there = {tool.get("id") for tool in tools}
        new = [tool for tool in imported.tools if tool["id"] not in there]
        variables = {
            name: value
            for name, value in imported.variables.items()
            if new and name not in self.document.get("variables", {})
        }
        wanted = {**self.document, "tools": [*tools, *new]}
        lines = self._text.splitlines(keepends=True)
        if variables:
            wanted["variables"] = {**self.document.get("variables", {}), **variables}
            lines = _with_entries(lines, "variables", _dumped("variables", variables))
        if new:
            lines = _with_entries(lines, "tools", _dumped("tools", new))
        self._become(wanted, "".join(lines))
        return [tool["id"] for tool in imported.tools if tool["id"] in there]

    def replace(self, index: int, tool: dict[str, Any]) -> None:
        """Put a tool in the place of the one with this index."""
        tools = list(self.document["tools"])
        tools[index] = tool
        lines = self._text.splitlines(keepends=True)
        node = _member(self._text, "tools")
        if isinstance(node, yaml.SequenceNode) and not node.flow_style:
            start = node.value[index].start_mark.line
            after = node.value[index + 1].start_mark.line if index + 1 < len(tools) else node.end_mark.line
            end = _last_line(lines, start, after)
            lines[start:end] = _indented(_dumped("tools", [tool]), node.start_mark.column)
        self._become({**self.document, "tools": tools}, "".join(lines))

    def write(self) -> None:
        """Write the file."""
        self._path.write_text(self._text, encoding="utf-8")

    def _become(self, wanted: Document, text: str) -> None:
        """Take an edited text if it says what is wanted; else write the document anew, without comments."""
        if self._path.suffix == ".json":
            pretty = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
            self._text = orjson.dumps(wanted, option=pretty).decode()
        elif _says(text, wanted):
            self._text = text
        else:
            self._text, self.kept = as_yaml(wanted), False
        self.document = wanted


def _says(text: str, wanted: Document) -> bool:
    try:
        return parse(text, "yaml") == wanted
    except Exception:  # noqa: BLE001 - whatever is wrong with the edited text, it is not taken
        return False


def _dumped(name: str, value: Any) -> list[str]:
    """The lines below ``name:``."""
    return as_yaml({name: value}).splitlines(keepends=True)[1:]


def _with_entries(lines: list[str], name: str, entries: list[str]) -> list[str]:
    """The text with more entries at the end of a member, or with the member."""
    text = "".join(lines)
    node = _member(text, name)
    if node is None or not node.value:
        gap = [] if not text or text.endswith("\n") else ["\n"]
        return [*lines, *gap, "\n", f"{name}:\n", *entries]
    first = entries[0]
    column = node.start_mark.column - (len(first) - len(first.lstrip(" ")))
    end = _last_line(lines, node.start_mark.line, node.end_mark.line)
    return [*lines[:end], *_indented(entries, column), *lines[end:]]


def _member(text: str, name: str) -> Any:
    try:
        root = yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError:
        return None
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    return next((value for key, value in pairs if key.value == name), None)


def _last_line(lines: list[str], start: int, after: int) -> int:
    """The end of a block: what follows it, blank lines and comments too, belongs to the next one."""
    end = min(after, len(lines))
    while end > start + 1 and (not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#")):
        end -= 1
    return end


def _indented(lines: list[str], column: int) -> list[str]:
    return [f"{' ' * column}{line}" if line.strip() else line for line in lines]
