"""``signalbox migrate``: bring the tables of every installed service up to date."""

from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def migrate(
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for the database, and for another migration to end.")
    ] = False,
) -> None:
    """Bring the tables of every installed service up to date; nothing happens where they are."""
    from signalbox.common.settings import SERVICE_OF, CommonSettings
    from signalbox.common.storage.migrations import discover
    from signalbox.common.storage.migrations import migrate as bring_to_head

    settings = CommonSettings()
    for source in discover():
        service = SERVICE_OF[source.service]
        done = bring_to_head(
            service, source.package, settings.database_url_of(service), wait=wait, report=print
        )
        print(
            f"{service}: {done.before or 'empty'} -> {done.after}"
            if done.changed
            else f"{service}: up to date"
        )
