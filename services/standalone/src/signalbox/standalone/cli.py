"""``signalbox up``: everything in one process."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from signalbox.common.settings import CommonSettings
    from signalbox.standalone.app import OneProcess

app = typer.Typer()


@app.command()
def up(
    folder: Annotated[
        Path | None,
        typer.Argument(help="Folder with a workflow.yaml to serve; saving it publishes it.", exists=True),
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; default: SIGNALBOX_HOST.")] = None,
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
    data: Annotated[Path | None, typer.Option(help="Where state is kept; default: SIGNALBOX_DATA.")] = None,
) -> None:
    """Run all services in one process."""
    from signalbox.common.cli.serve import bind, run_app
    from signalbox.common.settings import CommonSettings

    if host is not None:
        os.environ["SIGNALBOX_HOST"] = host
    if data is not None:
        os.environ["SIGNALBOX_DATA"] = str(data)
    settings = CommonSettings()
    # Bound before anything else is opened: a taken port is said at once, and nothing has to be undone.
    listener = bind(settings.host, port)
    migrate_all(settings, say)
    address = f"http://{settings.host}:{port}"
    one_process = build(settings, folder)
    run_app(
        one_process,
        listener,
        services=list(one_process.apps.values()),
        on_started=lambda: greet(address),
        drain=one_process.apps["workflow"].state.drain,
        fast_lane=one_process.apps["llm_gateway"].state.fast_lane,
    )


def build(settings: "CommonSettings", folder: Path | None) -> "OneProcess":
    """The app, with the folder that it serves."""
    from signalbox.standalone.app import create_app

    return create_app(settings, folder=folder, say=say)


def migrate_all(settings: "CommonSettings", report: Callable[[str], None]) -> None:
    """Bring all tables up to date; costs a look at each database where they are."""
    from signalbox.common.settings import SERVICE_OF
    from signalbox.common.storage.migrations import discover, migrate

    for source in discover():
        url = settings.database_url_of(SERVICE_OF[source.service])
        migrate(source.service, source.package, url, wait=True, report=report)


def greet(address: str) -> None:
    """Say where things are."""
    say(f"Signalbox listens on {address}")
    say(f"  ask:   signalbox ask --url {address} 'Hello'")
    say(f"  API:   {address}/openapi.json")
    say(f"  ready: {address}/ready")


def say(line: str) -> None:
    """A line for the person who started the process; logs go to stderr."""
    print(line, flush=True)
