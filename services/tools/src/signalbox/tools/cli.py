"""``signalbox tools``: the tools of a workflow file, without a server."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from signalbox.common.errors import BadRequest
from signalbox.tools.importing import cli as importing

if TYPE_CHECKING:
    from signalbox.contracts.work import ToolCallReply

app = typer.Typer()
tools = typer.Typer(help="The tools of a workflow.", no_args_is_help=True)
tools.registered_commands += importing.app.registered_commands
app.add_typer(tools, name="tools")


class NotConfirmed(BadRequest):
    """A write was asked for, and nobody said yes."""

    code = "not_confirmed"


@tools.command("call")
def call(
    name: Annotated[str, typer.Argument(help="The tool's id.")],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(help="Its arguments, each NAME=VALUE; values are read as JSON, else as text."),
    ] = None,
    file: Annotated[
        Path, typer.Option("--file", "-f", help="The workflow, as YAML or JSON.", exists=True, dir_okay=False)
    ] = Path("workflow.yaml"),
    user: Annotated[str | None, typer.Option(help="The user in whose name it is called.")] = None,
    language: Annotated[str, typer.Option(help="The language of the session.")] = "en",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the request, secrets masked, and send nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before a write.")] = False,
) -> None:
    """Call one tool as a turn would: arguments checked, secrets and allowed hosts from the settings. Prints its output.

    Exit status 1 where the tool failed.
    """
    import asyncio

    from signalbox.tools.calling import ToolOfFile

    tool = ToolOfFile.read(file, name)
    if tool.writes and not dry_run and not yes and not typer.confirm(f"'{name}' writes. Call it?"):
        raise NotConfirmed(f"'{name}' was not called; --dry-run shows what it would send.")
    given = tool.arguments(arguments or [])
    _show(asyncio.run(tool.call(given, user=user, language=language, dry_run=dry_run)))


def _show(reply: "ToolCallReply") -> None:
    import orjson

    shown = reply.output if reply.request is None else reply.request
    if reply.error is None:
        print(orjson.dumps(shown, option=orjson.OPT_INDENT_2).decode())
    else:
        typer.echo(f"{reply.error.code}: {reply.error.detail}", err=True)
    attempts = "1 attempt" if reply.attempts == 1 else f"{reply.attempts} attempts"
    typer.echo(f"[{'ok' if reply.ok else 'failed'} | {attempts} | {reply.took_ms:.0f} ms]", err=True)
    if not reply.ok:
        raise typer.Exit(1)
