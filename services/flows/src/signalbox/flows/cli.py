"""Commands of the Flows service; none yet."""

import typer

app = typer.Typer()
