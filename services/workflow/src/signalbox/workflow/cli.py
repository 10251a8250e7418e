"""Commands of the Workflow service."""

from pathlib import Path
from typing import Annotated

import typer

from signalbox.common.errors import ValidationFailed
from signalbox.workflow.errors import EncoderMissing

app = typer.Typer()
intents = typer.Typer(help="How well a workflow's intents are told apart.", no_args_is_help=True)
app.add_typer(intents, name="intents")


@intents.callback()
def _group() -> None:
    """How well a workflow's intents are told apart."""


@intents.command()
def evaluate(
    file: Annotated[
        Path,
        typer.Argument(help="A workflow as YAML or JSON, or a folder with a workflow.yaml.", exists=True),
    ],
    encoder: Annotated[
        Path | None, typer.Option(help="An ONNX file of a sentence encoder.", envvar="SIGNALBOX_ENCODER_FILE")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Learn from a workflow's examples, and say how that does on examples that were held out.

    It is what publishing does, and the report that publishing keeps.
    """
    import json

    from signalbox.common.cli.workflow_files import read_workflow
    from signalbox.workflow.example_build import lessons
    from signalbox.workflow.examples.encoder import Encoder, EncoderUnusable
    from signalbox.workflow.examples.report import as_text
    from signalbox.workflow.examples.training import IntentExamples, train

    taught = [
        IntentExamples(entry["id"], tuple(entry["examples"]), entry["description"])
        for entry in lessons(read_workflow(file))
    ]
    if len(taught) < 2:
        raise ValidationFailed("Nothing can be learned: fewer than two intents have examples.")
    try:
        report = train(taught, None if encoder is None else Encoder(encoder)).report
    except EncoderUnusable as error:
        raise EncoderMissing(str(error)) from error
    print(json.dumps(report.as_json(), ensure_ascii=False, indent=2) if as_json else as_text(report))


@app.command()
def worker(
    host: Annotated[str | None, typer.Option(help="Address of the probes; default: SIGNALBOX_HOST.")] = None,
    port: Annotated[int, typer.Option(help="Port of /live, /ready and /metrics.")] = 8007,
) -> None:
    """Work on async queries that replicas with SIGNALBOX_TASK_QUEUE=celery accept."""
    import os
    import sys

    from signalbox.common.cli.serve import bind
    from signalbox.common.telemetry import configure_logging
    from signalbox.workflow.app import create_app
    from signalbox.workflow.background.celery_queue import check
    from signalbox.workflow.background.celery_worker import run_worker
    from signalbox.workflow.settings import WorkflowSettings

    if host is not None:
        os.environ["SIGNALBOX_HOST"] = host
    settings = WorkflowSettings(task_queue="celery")
    check(settings)
    configure_logging(settings.log_level)
    listener = bind(settings.host, port)
    sys.exit(run_worker(settings, create_app(settings), listener))
