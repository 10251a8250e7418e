"""From the tools that an MCP server lists to tools of a workflow."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from signalbox.common.arguments import BadJsonSchema, compile_schema
from signalbox.tools.importing.errors import OperationUnknown
from signalbox.tools.importing.imported import Imported, ImportNote
from signalbox.tools.importing.names import free, identifier, slug
from signalbox.tools.mcp.servers import definition_of


def mcp_tools_of(
    listed: Iterable[Mapping[str, Any]],
    names: Iterable[str],
    *,
    url: str,
    name: str,
    prefix: str = "",
    auth: dict[str, Any] | None = None,
) -> Imported:
    """Tools for those that a server lists, of the given names (wildcards allowed; none means all).

    A tool is a read only if the server says so; which of them are to be called is for the importer to choose.

    Raises:
        OperationUnknown: a name fits none.
    """
    described = [(definition_of(tool), tool) for tool in listed]
    wanted = list(names)
    for pattern in wanted:
        if not any(fnmatchcase(definition.name, pattern) for definition, _ in described):
            raise OperationUnknown(f"The server has no tool '{pattern}'; --list shows what it has.")
    variable = f"{slug(name)}_url"
    imported = Imported(variables={variable: url})
    taken: set[str] = set()
    for definition, tool in described:
        if wanted and not any(fnmatchcase(definition.name, pattern) for pattern in wanted):
            continue
        schema = definition.schema if isinstance(definition.schema, dict) else {}
        parameters = {**schema, "type": "object"}
        try:
            compile_schema(parameters)
        except BadJsonSchema as error:
            imported.notes.append(
                ImportNote(definition.name, f"left out: its schema cannot be used: {error.detail}")
            )
            continue
        tool_id = free(identifier(f"{prefix}{definition.name}"), taken)
        taken.add(tool_id)
        made: dict[str, Any] = {
            "id": tool_id,
            "description": definition.description,
            "parameters": parameters,
            **_effect(tool.get("annotations")),
            "mcp": {"url": f"{{{{ vars.{variable} }}}}", "tool": definition.name, "pin": definition.pin()},
        }
        imported.tools.append({**made, "auth": auth} if auth is not None else made)
    return imported


def _effect(annotations: Any) -> dict[str, Any]:
    said = annotations if isinstance(annotations, Mapping) else {}
    if said.get("readOnlyHint") is True:
        return {"effect": "read"}
    return (
        {"effect": "write", "idempotent": True} if said.get("idempotentHint") is True else {"effect": "write"}
    )
