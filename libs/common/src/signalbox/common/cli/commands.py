"""Joins the commands of all installed distributions into one command line."""

import sys

import typer
from pydantic import ValidationError

from signalbox.common.cli import ask, dialogues, documents, importing, migrate, models, serve
from signalbox.common.errors import SignalboxError
from signalbox.common.installed import registered

COMMANDS_GROUP = "signalbox.commands"


def build_cli() -> typer.Typer:
    """The command line with the commands of this package and of every installed service."""
    root = typer.Typer(
        name="signalbox",
        help="Signalbox routes a message to the right work.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )
    parts = [documents.app, importing.app, ask.app, dialogues.app, models.app, serve.app, migrate.app]
    parts += [point.load() for point in sorted(registered(COMMANDS_GROUP), key=lambda p: p.name)]
    for part in parts:
        root.registered_commands += part.registered_commands
        root.registered_groups += part.registered_groups
    return root


def run() -> None:
    """Run the command line; an error of ours is one sentence on stderr and exit status 1."""
    try:
        build_cli()()
    except SignalboxError as error:
        print(f"signalbox: {error.detail}", file=sys.stderr)
        for item in error.errors:
            print(f"  {item.pointer or '/'}: {item.detail} [{item.code}]", file=sys.stderr)
        sys.exit(1)
    except ValidationError as refused:
        # Settings come from the environment: what is wrong there is said before anything starts.
        for found in refused.errors():
            where = ".".join(str(part) for part in found["loc"])
            print(f"signalbox: {where + ': ' if where else ''}{found['msg']}", file=sys.stderr)
        sys.exit(2)
