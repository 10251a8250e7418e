"""Commands of the Skills service; none yet."""

import typer

app = typer.Typer()
