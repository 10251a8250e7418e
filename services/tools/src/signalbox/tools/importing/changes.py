"""What has changed at the sources of imported tools since they were approved, and what approving it gives."""

import difflib
import re
from collections.abc import Mapping
from typing import Any, Protocol

from signalbox.common.importing import as_yaml
from signalbox.common.record import record
from signalbox.tools.importing.mcp_tools import mcp_tools_of
from signalbox.tools.importing.openapi_document import OpenApiDocument
from signalbox.tools.importing.openapi_tools import OpenApiOptions, operation_named, tools_of

_TAKEN = ("description", "parameters", "request", "mcp", "openapi")
"""Members that come from the source; everything else of a tool is its author's."""
_VARIABLE = re.compile(r"\{\{\s*vars\.(\w+)_url\s*\}\}")


class Sources(Protocol):
    """Where imported tools come from, as they are now."""

    async def document(self, tool: Mapping[str, Any]) -> OpenApiDocument:
        """The document of a tool that was imported from one."""
        ...

    async def listed(self, tool: Mapping[str, Any], variables: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """What the MCP server of a tool lists."""
        ...


@record
class Change:
    """One imported tool that is not what was approved. ``now`` is None where its source has it no more."""

    index: int
    tool: dict[str, Any]
    now: dict[str, Any] | None

    def difference(self) -> str:
        """What approving it would change, as a unified diff of YAML."""
        if self.now is None:
            return f"{self.tool['id']}: its source has it no more\n"
        before, after = (
            as_yaml({key: tool[key] for key in _TAKEN if key in tool}).splitlines(keepends=True)
            for tool in (self.tool, self.now)
        )
        name = str(self.tool["id"])
        return "".join(difflib.unified_diff(before, after, f"{name} (approved)", f"{name} (now)"))


async def changes_in(document: Mapping[str, Any], sources: Sources) -> list[Change]:
    """The imported tools of a workflow that are described otherwise than when they were approved.

    Raises:
        SignalboxError, CallFailed: a source cannot be asked.
    """
    found: list[Change] = []
    variables = document.get("variables", {})
    for index, tool in enumerate(document.get("tools", [])):
        if "openapi" in tool:
            now = _operation_now(tool, await sources.document(tool), variables)
            pinned = tool["openapi"]["pin"]
            if now is None or now["openapi"]["pin"] != pinned:
                found.append(Change(index, tool, None if now is None else _approved(tool, now)))
        elif tool.get("mcp", {}).get("pin") is not None:
            now = _mcp_now(tool, await sources.listed(tool, variables))
            if now is None or now["mcp"]["pin"] != tool["mcp"]["pin"]:
                found.append(Change(index, tool, None if now is None else _approved(tool, now)))
    return found


def _operation_now(
    tool: Mapping[str, Any], document: OpenApiDocument, variables: Mapping[str, Any]
) -> dict[str, Any] | None:
    operation = operation_named(document, tool["openapi"]["operation"])
    if operation is None:
        return None
    variable = _VARIABLE.match(tool["request"]["url"])
    name = variable.group(1) if variable else "api"
    server = str(variables.get(f"{name}_url") or "https://unknown.invalid")
    made = tools_of(document, [operation], OpenApiOptions(name=name, server=server))
    if not made.tools:
        return None
    now = made.tools[0]
    origin = {**now["openapi"], "document": tool["openapi"].get("document", "")}
    return {**now, "openapi": {key: value for key, value in origin.items() if value}}


def _mcp_now(tool: Mapping[str, Any], listed: list[Mapping[str, Any]]) -> dict[str, Any] | None:
    source = tool["mcp"]
    named = [item for item in listed if item.get("name") == source["tool"]]
    made = mcp_tools_of(named, [], url=source["url"], name="x").tools if named else []
    if not made:
        return None
    return {**made[0], "mcp": {**source, "pin": made[0]["mcp"]["pin"]}}


def _approved(tool: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """The tool with what its source says now; arguments that are taken from the session stay so."""
    return {**tool, **{key: now[key] for key in _TAKEN if key in now}}
