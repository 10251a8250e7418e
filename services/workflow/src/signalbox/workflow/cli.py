"""Commands of the Workflow service."""

import typer

app = typer.Typer()
