"""``signalbox schema``, ``validate`` and ``init``: work on workflow files, without a server."""

from pathlib import Path
from typing import Annotated

import orjson
import typer

app = typer.Typer()


@app.command()
def schema() -> None:
    """Print the JSON schema of the workflow config."""
    from signalbox.contracts.workflow_config import config_json_schema

    print(orjson.dumps(config_json_schema(), option=orjson.OPT_INDENT_2).decode())


@app.command()
def validate(
    file: Annotated[
        Path,
        typer.Argument(help="A workflow as YAML or JSON, or a folder with a workflow.yaml.", exists=True),
    ],
) -> None:
    """Check a workflow; print all that is wrong at once. Exit status 1 when there are errors."""
    from signalbox.common.cli.workflow_files import read_document
    from signalbox.common.documents import config_hash
    from signalbox.common.validation import validate as check

    file, document = read_document(file)
    result = check(document)
    for kind, items in (("error", result.errors), ("warning", result.warnings)):
        for item in items:
            print(f"{kind}: {item.pointer or '/'}: {item.detail} [{item.code}]")
    if result.errors:
        print(f"{file}: {len(result.errors)} error(s)")
        raise typer.Exit(1)
    print(f"{file}: valid, config_hash {config_hash(document)[0]}")


@app.command()
def init(
    directory: Annotated[Path, typer.Argument(help="Where to write; must be empty or not exist.")],
) -> None:
    """Write a small workflow of one's own, with editor completion, a dialogue test and a README."""
    from signalbox.common.cli.template import write_project

    for path in write_project(directory):
        print(f"wrote {path}")
    print(f"Now: signalbox up {directory}")
