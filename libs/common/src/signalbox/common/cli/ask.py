"""``signalbox ask``: one question to a running Signalbox, as a client would post it."""

from typing import Annotated, Any

import orjson
import typer

from signalbox.common.cli.options import DEFAULT_URL, Url

app = typer.Typer()


@app.command()
def ask(
    message: Annotated[str, typer.Argument(help="What to say.")],
    url: Url = DEFAULT_URL,
    session: Annotated[str | None, typer.Option(help="Go on with this session; default: a new one.")] = None,
    workflow: Annotated[str | None, typer.Option(help="Workflow id; default: the tenant's.")] = None,
    skill: Annotated[str | None, typer.Option(help="Address this skill, past intents.")] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Print events as they happen.")] = False,
) -> None:
    """Post a message and print the reply, how it was understood, and its trace id."""
    from signalbox.common.cli.http import call, open_client, raise_for_problem, reaching
    from signalbox.common.ids import new_id

    body: dict[str, Any] = {"message": message, "session_id": session or new_id("ask")}
    if workflow:
        body["workflow_id"] = workflow
    if skill:
        body["skill"] = skill
    with open_client(url, timeout_s=310.0) as client:
        if not stream:
            _print_reply(call(client, "POST", "/api/v1/query", body))
            return
        with reaching(client), client.stream("POST", "/api/v1/query/stream", json=body) as response:
            raise_for_problem(response)
            for line in response.iter_lines():
                if line.startswith("data:"):
                    _print_event(orjson.loads(line[5:]))


def _print_reply(reply: dict[str, Any]) -> None:
    print(reply["message"])
    for part in reply.get("parts") or []:
        for line in _lines(part, reply["message"]):
            print(f"  - {line}")
    decision = reply.get("decision") or {}
    facts = [
        reply["status"],
        f"stage {decision.get('stage', '?')}",
        f"intent {decision.get('intent') or '-'}",
    ]
    facts += [f"session {reply['session_id']}", f"turn {reply['turn_id']}", f"trace {reply.get('trace_id')}"]
    print(f"[{' | '.join(facts)}]")


def _lines(part: dict[str, Any], message: str) -> list[str]:
    """What a terminal shows of a part beside the message."""
    match part["type"]:
        case "choices":
            return [choice["label"] for choice in part["choices"] if choice["label"] not in message]
        case "citation":
            named = [part.get("title"), part.get("url")]
            return ["source: " + " · ".join(text for text in named if text)] if any(named) else []
        case "link" | "image":
            return [" · ".join(text for text in (part.get("title") or part.get("alt"), part["url"]) if text)]
        case "card":
            return [" · ".join(text for text in (part["title"], part.get("text"), part.get("url")) if text)]
    return []


def _print_event(event: dict[str, Any]) -> None:
    data = event["data"]
    if event["type"] == "text":
        print(data["delta"], end="", flush=True)
    elif event["type"] == "complete":
        print()
        _print_reply(data)
    else:
        print(f"\n({event['type']}: {orjson.dumps(data).decode()})")
