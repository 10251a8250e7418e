"""Commands of the Workflow service."""

from pathlib import Path
from typing import Annotated, Any

import typer

from signalbox.common.cli.options import DEFAULT_URL, Url
from signalbox.common.errors import ValidationFailed
from signalbox.workflow.errors import EncoderMissing

app = typer.Typer()
intents = typer.Typer(help="How well a workflow's intents are told apart.", no_args_is_help=True)
app.add_typer(intents, name="intents")
approvals = typer.Typer(help="Runs that wait for an operator.", no_args_is_help=True)
app.add_typer(approvals, name="approvals")

_PAUSED = "/api/v1/paused-runs"
PauseId = Annotated[str, typer.Argument(help="The run's id in the list.")]
Note = Annotated[str, typer.Option(help="Why.")]


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


@approvals.command("list")
def list_approvals(
    everything: Annotated[bool, typer.Option("--all", help="Those that were decided on, too.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 50,
    url: Url = DEFAULT_URL,
) -> None:
    """List the runs that wait for an operator: approvals, and writes of unknown outcome."""
    from signalbox.common.cli.http import call, open_client

    status = "" if everything else "&status=waiting"
    with open_client(url) as client:
        found = call(client, "GET", f"{_PAUSED}?limit={limit}{status}")
    for item in found["items"]:
        decided = f"  {item['decision']} by {item['decided_by']}" if item.get("decision") else ""
        print(f"{item['pause_id']}  {item['reason']:<15}  {item['status']}{decided}")
        for wanted in item["calls"]:
            print(f"    {wanted['tool']}: {wanted['summary']}")


@approvals.command()
def approve(pause_id: PauseId, note: Note = "", url: Url = DEFAULT_URL) -> None:
    """Let a run do what it asks for."""
    _decide(url, pause_id, {"decision": "approve", "note": note})


@approvals.command()
def refuse(pause_id: PauseId, note: Note = "", url: Url = DEFAULT_URL) -> None:
    """Do not let a run do what it asks for; its model is told, and goes on."""
    _decide(url, pause_id, {"decision": "refuse", "note": note})


@approvals.command()
def abandon(pause_id: PauseId, note: Note = "", url: Url = DEFAULT_URL) -> None:
    """End a run that waits, whatever for."""
    _decide(url, pause_id, {"decision": "abandon", "note": note})


@approvals.command()
def settle(
    pause_id: PauseId,
    happened: Annotated[bool, typer.Option("--happened/--repeat", help="Whether the write was made.")],
    output: Annotated[str | None, typer.Option(help="With --happened: what it gave, as JSON.")] = None,
    note: Note = "",
    url: Url = DEFAULT_URL,
) -> None:
    """Say what became of a write of unknown outcome; one that did not happen is made now."""
    import json

    body: dict[str, Any] = {"decision": "happened" if happened else "repeat", "note": note}
    if output is not None:
        try:
            body["output"] = json.loads(output)
        except json.JSONDecodeError as error:
            raise ValidationFailed(f"--output is no JSON: {error}") from error
    _decide(url, pause_id, body)


def _decide(url: str, pause_id: str, body: dict[str, Any]) -> None:
    from urllib.parse import quote

    from signalbox.common.cli.http import call, open_client

    with open_client(url) as client:
        item = call(client, "POST", f"{_PAUSED}/{quote(pause_id, safe='')}/decision", body)
    print(f"{item['pause_id']}: {item['decision']}; it goes on in {item['task_id']}")


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
