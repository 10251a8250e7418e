"""From the operations of an OpenAPI document to tools of a workflow."""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

from signalbox.common.arguments import BadJsonSchema, compile_schema
from signalbox.common.record import record
from signalbox.tools.importing.errors import OperationUnknown, OperationUnusable, SourceUnusable
from signalbox.tools.importing.imported import Imported, ImportNote
from signalbox.tools.importing.names import free, identifier, slug
from signalbox.tools.importing.openapi_document import OpenApiDocument, Operation
from signalbox.tools.importing.openapi_parameters import RequestDraft
from signalbox.tools.importing.openapi_security import Login, credentials

_MAX_DESCRIPTION = 1024
_READS = frozenset({"get", "head"})
_REPEATABLE = frozenset({"put", "delete"})
"""Methods that RFC 9110 (section 9.2.2) calls idempotent and that change something."""


@record
class OpenApiOptions:
    """What the document does not say, or the operator wants otherwise."""

    name: str = ""
    """Of the API: begins its secrets and names its variable; empty takes the document's title."""
    server: str = ""
    """Base URL; empty takes the document's first server."""
    prefix: str = ""
    """Before each tool's id."""
    client_id: str = ""
    username: str = ""


def chosen(
    document: OpenApiDocument, names: Iterable[str], tags: Iterable[str], *, reads_only: bool
) -> list[Operation]:
    """The operations that are named, by id or as ``GET /path``, wildcards allowed, or that have one of the tags.

    Without names and tags: all.

    Raises:
        OperationUnknown: a name or tag fits none.
    """
    operations = list(document.operations())
    names, tags = list(names), set(tags)
    for name in names:
        if not any(_fits(operation, name) for operation in operations):
            raise OperationUnknown(f"The document has no operation '{name}'; --list shows what it has.")
    unknown = tags - {tag for operation in operations for tag in operation.tags}
    if unknown:
        raise OperationUnknown(f"No operation has the tag '{min(unknown)}'; --list shows what there is.")
    return [
        operation
        for operation in operations
        if (not names and not tags)
        or any(_fits(operation, name) for name in names)
        or tags.intersection(operation.tags)
        if not reads_only or operation.method in _READS
    ]


def tools_of(document: OpenApiDocument, operations: Iterable[Operation], options: OpenApiOptions) -> Imported:
    """Tools for operations; what cannot become one is said in a note, and spares the others.

    Raises:
        SourceUnusable: the document names no server, and the options neither.
    """
    name = slug(options.name or document.title)
    server = (options.server or document.server()).rstrip("/")
    if urlsplit(server).scheme not in {"http", "https"}:
        raise SourceUnusable("The document names no absolute server address; give one with --server URL.")
    variable = f"{name}_url"
    imported = Imported(variables={variable: server})
    taken: set[str] = set()
    for operation in operations:
        tool_id = free(identifier(f"{options.prefix}{_id_of(operation)}"), taken)
        try:
            tool, note = _tool(document, operation, Login(name, options.client_id, options.username), server)
            tool["request"] = {**tool["request"], "url": f"{{{{ vars.{variable} }}}}{tool['request']['url']}"}
        except (OperationUnusable, SourceUnusable) as error:
            imported.notes.append(ImportNote(operation.name, f"left out: {error.detail}"))
            continue
        taken.add(tool_id)
        imported.tools.append({"id": tool_id, **tool})
        if note:
            imported.notes.append(ImportNote(tool_id, note))
    return imported


def _tool(
    document: OpenApiDocument, operation: Operation, login: Login, server: str
) -> tuple[dict[str, Any], str]:
    draft = RequestDraft(document, operation)
    parameters = draft.parameters()
    try:
        compile_schema(parameters)
    except BadJsonSchema as error:
        raise OperationUnusable(f"the schema of its arguments cannot be used: {error.detail}") from error
    found = credentials(document, operation, login, server)
    write = operation.method not in _READS
    tool: dict[str, Any] = {
        "description": _shortened(document.description(operation) or operation.name),
        "parameters": parameters,
        "effect": "write" if write else "read",
        "request": draft.request(""),
        "openapi": {
            "document": document.location,
            "operation": operation.name,
            "pin": document.definition(operation).pin(),
        },
    }
    if found.auth is not None:
        tool["auth"] = found.auth
    if write and (draft.takes_key or operation.method in _REPEATABLE):
        tool["idempotent"] = True
    return tool, found.note


def _id_of(operation: Operation) -> str:
    given = operation.content.get("operationId")
    return str(given) if given else f"{operation.method}_{operation.path}"


def _fits(operation: Operation, name: str) -> bool:
    return fnmatchcase(operation.name, name) or fnmatchcase(
        str(operation.content.get("operationId") or ""), name
    )


def _shortened(text: str) -> str:
    """A description that a model reads with every call: its beginning, to the end of a word."""
    if len(text) <= _MAX_DESCRIPTION:
        return text
    return text[: _MAX_DESCRIPTION - 1].rsplit(None, 1)[0] + "…"


def operation_named(document: OpenApiDocument, name: str) -> Operation | None:
    """The operation with this method and path; None if the document has none any more."""
    return next((operation for operation in document.operations() if operation.name == name), None)
