"""Commands of the Flows service."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()
flows = typer.Typer(help="What the flows of a workflow do.", no_args_is_help=True)
app.add_typer(flows, name="flows")


@flows.callback()
def _group() -> None:
    """What the flows of a workflow do."""


@flows.command()
def diagram(
    file: Annotated[
        Path,
        typer.Argument(help="A workflow as YAML or JSON, or a folder with a workflow.yaml.", exists=True),
    ],
    flow: Annotated[
        list[str] | None, typer.Option(help="Only this flow and its subflows; may be repeated.")
    ] = None,
    language: Annotated[
        str | None, typer.Option(help="Language of the texts; default: the workflow's first.")
    ] = None,
) -> None:
    """Print a workflow's flows as one Mermaid flowchart."""
    from signalbox.common.cli.workflow_files import read_workflow
    from signalbox.flows.diagram import flow_diagram

    print(flow_diagram(read_workflow(file), flow or [], language), end="")
