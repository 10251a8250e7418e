"""Commands of the Flows service."""

from pathlib import Path
from typing import Annotated

import typer

from signalbox.common.errors import NotFound, ValidationFailed

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
    from signalbox.common.documents import parse
    from signalbox.common.validation import validate
    from signalbox.flows.diagram import flow_diagram

    file = file / "workflow.yaml" if file.is_dir() else file
    try:
        result = validate(parse(file.read_bytes()))
    except OSError as error:
        raise NotFound(f"{file} cannot be read: {error.strerror}.") from error
    if result.config is None or result.errors:
        raise ValidationFailed(f"{file} is not valid; see `signalbox validate {file}`.", errors=result.errors)
    print(flow_diagram(result.config, flow or [], language), end="")
