"""``signalbox test``: plays dialogues against a running Signalbox and says where it answers something else."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import Field

from signalbox.common.cli.options import DEFAULT_URL, Url
from signalbox.contracts.base import PublicRequest

app = typer.Typer()

Post = Callable[[dict[str, Any]], dict[str, Any]]


class DialogueTurn(PublicRequest):
    """What the user says, and what must come back. What is not given is not checked."""

    user: str
    intent: str | None = None
    status: str = "success"
    reply_contains: list[str] = []


class Dialogue(PublicRequest):
    """One conversation, in a session of its own."""

    id: str
    language: str | None = None
    turns: list[DialogueTurn] = Field(min_length=1)


class DialogueFile(PublicRequest):
    """A file of dialogues."""

    dialogues: list[Dialogue]


@app.command("test")
def play_file(
    file: Annotated[Path, typer.Argument(help="Dialogues as YAML.")],
    url: Url = DEFAULT_URL,
    workflow: Annotated[str | None, typer.Option(help="Workflow id; default: the tenant's.")] = None,
) -> None:
    """Play dialogues and report every difference. Exit status 1 when there is one."""
    from signalbox.common.cli.http import call, open_client
    from signalbox.common.documents import parse

    dialogues = DialogueFile.model_validate(parse(file.read_bytes())).dialogues
    failed = 0
    with open_client(url) as client:
        for dialogue in dialogues:
            differences = play(
                dialogue, workflow, lambda body: dict(call(client, "POST", "/api/v1/query", body))
            )
            failed += bool(differences)
            print(f"{'FAIL' if differences else 'ok  '} {dialogue.id}")
            for difference in differences:
                print(f"     {difference}")
    print(f"{len(dialogues) - failed} passed, {failed} failed")
    if failed:
        raise typer.Exit(1)


def play(dialogue: Dialogue, workflow: str | None, post: Post) -> list[str]:
    """Play one dialogue; returns a line for each difference. What follows the first wrong turn is not played."""
    from signalbox.common.ids import new_id

    session_id = new_id("test")
    for number, turn in enumerate(dialogue.turns, 1):
        body: dict[str, Any] = {"session_id": session_id, "message": turn.user}
        if workflow is not None:
            body["workflow_id"] = workflow
        if dialogue.language is not None:
            body["language"] = dialogue.language
        differences = _differences(turn, post(body))
        if differences:
            return [f"turn {number} ({turn.user!r}): {difference}" for difference in differences]
    return []


def _differences(turn: DialogueTurn, reply: dict[str, Any]) -> list[str]:
    found = []
    if reply["status"] != turn.status:
        found.append(f"status is {reply['status']}, not {turn.status}; it said {reply['message']!r}")
    intent = (reply.get("decision") or {}).get("intent")
    if turn.intent is not None and intent != turn.intent:
        found.append(f"intent is {intent}, not {turn.intent}")
    missing = [text for text in turn.reply_contains if text not in reply["message"]]
    if missing:
        found.append(f"{missing} not in {reply['message']!r}")
    return found
