"""``signalbox import``: an earlier workflow_config.json becomes a workflow of ours."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from signalbox.common.errors import Conflict, NotFound

app = typer.Typer()

INCOMPLETE = 3
"""Exit status where a workflow was written, and something is left to be done by hand."""


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(help="An earlier workflow_config.json, as JSON or YAML.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="Where to write: *.json as JSON, else YAML. Default: standard output."
        ),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write the report to this file, too, as JSON.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the output file if there is one.")] = False,
) -> None:
    """Turn an earlier workflow_config.json into a valid workflow, and say what could not be carried over.

    Exit status 0: everything was carried over. 3: the workflow was written, and is valid, but something is left to be
    done by hand; the report says what. 1: nothing was written.
    """
    import orjson

    from signalbox.common.documents import parse
    from signalbox.common.importing import as_json, as_text, as_yaml, import_workflow

    if output is not None and output.exists() and not force:
        raise Conflict(f"{output} is there already; name another file, or replace it with --force.")
    try:
        source = file.read_bytes()
    except OSError as error:
        raise NotFound(f"{file} cannot be read: {error.strerror}.") from error
    imported = import_workflow(parse(source), file.stem)
    pretty = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    if output is not None and output.suffix == ".json":
        output.write_bytes(orjson.dumps(imported.document, option=pretty))
    elif output is not None:
        output.write_text(as_yaml(imported.document), encoding="utf-8")
    else:
        print(as_yaml(imported.document), end="")
    if report is not None:
        report.write_bytes(orjson.dumps(as_json(imported.notes), option=pretty))
    said = as_text(imported.notes)
    for warning in imported.warnings:
        said += f"\nwarning: {warning.pointer}: {warning.detail} [{warning.code}]"
    print(said.lstrip("\n") or "Everything was carried over.", file=sys.stderr)
    if output is not None:
        print(f"wrote {output}; check it with 'signalbox validate {output}'", file=sys.stderr)
    if not imported.complete:
        raise typer.Exit(INCOMPLETE)
