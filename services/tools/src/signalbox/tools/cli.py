"""Commands of the Tools service; none yet."""

import typer

app = typer.Typer()
