"""``signalbox tools import``, ``changes`` and ``approve``: tools that others describe, in a workflow file."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from signalbox.tools.importing.changes import Change
    from signalbox.tools.importing.imported import Imported

app = typer.Typer()

File = Annotated[Path, typer.Argument(help="A workflow as YAML or JSON.", exists=True, dir_okay=False)]
Source = Annotated[
    str, typer.Option("--source", help="The document of tools that were imported from a file.")
]
_MANY = 40


@app.command("import")
def import_tools(
    source: Annotated[
        str, typer.Argument(help="An OpenAPI document (file or URL), or with --mcp a server's URL.")
    ],
    *,
    into: Annotated[
        Path | None, typer.Option(help="The workflow to add to; default: print the tools.")
    ] = None,
    operation: Annotated[
        list[str] | None, typer.Option(help="Operation id, 'GET /path' or MCP tool; * allowed; repeat.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(help="All operations with this tag; repeat.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All, however many there are.")] = False,
    reads: Annotated[bool, typer.Option("--reads", help="Only operations that read.")] = False,
    show: Annotated[bool, typer.Option("--list", help="Only list what there is.")] = False,
    mcp: Annotated[bool, typer.Option("--mcp", help="The source is an MCP server.")] = False,
    server: Annotated[str, typer.Option(help="Base URL, where it is not the document's first server.")] = "",
    name: Annotated[str, typer.Option(help="Begins the names of secrets and variables.")] = "",
    prefix: Annotated[str, typer.Option(help="Before each tool's id.")] = "",
    client_id: Annotated[str, typer.Option(help="OAuth2 client id.")] = "",
    username: Annotated[str, typer.Option(help="User name of HTTP Basic.")] = "",
    token: Annotated[str, typer.Option(help="With --mcp: name of the secret that is its bearer token.")] = "",
) -> None:
    """Make tools of the operations of an OpenAPI document, or of an MCP server's tools, pinned to what they are now."""
    import asyncio
    from urllib.parse import urlsplit

    from signalbox.common.errors import BadRequest
    from signalbox.tools.importing.mcp_tools import mcp_tools_of
    from signalbox.tools.importing.openapi_tools import OpenApiOptions, chosen, tools_of
    from signalbox.tools.importing.sources import CommandSources
    from signalbox.tools.settings import ToolsSettings

    async def from_mcp() -> "Imported":
        auth = {"type": "bearer", "token": f"secret:{token}"} if token else None
        async with CommandSources(ToolsSettings(), named=source) as sources:
            listed = await sources.server(source, auth)
        api = name or (urlsplit(source).hostname or "mcp")
        return mcp_tools_of(listed, operation or [], url=source, name=api, prefix=prefix, auth=auth)

    async def from_openapi() -> "Imported":
        async with CommandSources(ToolsSettings(), named=source) as sources:
            document = await sources.read(source)
        found = chosen(document, operation or [], tag or [], reads_only=reads)
        if show:
            for item in found:
                print(f"{item.content.get('operationId') or '-':<40} {item.name}  {', '.join(item.tags)}")
            raise typer.Exit
        if len(found) > _MANY and not everything:
            raise BadRequest(
                f"There are {len(found)} operations; models choose badly among so many. Name some with --operation or "
                "--tag (--list shows them), or take all with --all."
            )
        return tools_of(document, found, OpenApiOptions(name, server, prefix, client_id, username))

    imported = asyncio.run(from_mcp() if mcp else from_openapi())
    if show:
        _list(imported)
    else:
        _deliver(imported, into)


@app.command()
def changes(file: File, source: Source = "") -> None:
    """Show how imported tools differ from what was approved. Exit status 1 when any does."""
    found = _changes(file, source)
    for change in found:
        print(change.difference(), end="")
    if found:
        print(
            f"{len(found)} tool(s) changed; approve them with 'signalbox tools approve {file}'",
            file=sys.stderr,
        )
        raise typer.Exit(1)
    print("Every imported tool is as it was approved.")


@app.command()
def approve(
    file: File,
    tool: Annotated[
        list[str] | None, typer.Argument(help="Ids of changed tools; default: all of them.")
    ] = None,
    source: Source = "",
) -> None:
    """Take over what the sources say now into the workflow; publishing it enables the tools again."""
    from signalbox.common.errors import NotFound
    from signalbox.tools.importing.workflow_file import WorkflowFile

    found = _changes(file, source)
    unknown = set(tool or []) - {str(change.tool["id"]) for change in found}
    if unknown:
        raise NotFound(f"'{min(unknown)}' is no imported tool that has changed.")
    workflow = WorkflowFile(file)
    for change in found:
        if tool and change.tool["id"] not in tool:
            continue
        print(change.difference(), end="")
        if change.now is None:
            print(f"{change.tool['id']}: remove it, or leave it disabled", file=sys.stderr)
        else:
            workflow.replace(change.index, change.now)
    workflow.write()
    print(f"wrote {file}; publish it to enable the tools again", file=sys.stderr)


def _changes(file: Path, source: str) -> "list[Change]":
    import asyncio

    from signalbox.tools.importing.changes import changes_in
    from signalbox.tools.importing.sources import CommandSources
    from signalbox.tools.importing.workflow_file import WorkflowFile
    from signalbox.tools.settings import ToolsSettings

    async def compare() -> "list[Change]":
        async with CommandSources(ToolsSettings(), file=source) as sources:
            return await changes_in(WorkflowFile(file).document, sources)

    return asyncio.run(compare())


def _list(imported: "Imported") -> None:
    for made in imported.tools:
        print(f"{made['mcp']['tool']:<40} {made['effect']:<6} {made['description'].partition(chr(10))[0]}")


def _deliver(imported: "Imported", into: Path | None) -> None:
    from signalbox.common.importing import as_yaml
    from signalbox.tools.importing.workflow_file import WorkflowFile

    for note in imported.notes:
        print(f"{note.about}: {note.detail}", file=sys.stderr)
    if into is None:
        print(as_yaml({"variables": imported.variables, "tools": imported.tools}), end="")
        return
    workflow = WorkflowFile(into)
    there = workflow.add(imported)
    workflow.write()
    for tool_id in there:
        print(f"{tool_id}: is there already, and left as it is", file=sys.stderr)
    if not workflow.kept:
        print("the file was written anew, without its comments", file=sys.stderr)
    print(f"added {len(imported.tools) - len(there)} tool(s) to {into}", file=sys.stderr)
