"""Recorded conversations: what users said, what the model answered, what tools gave, turn by turn."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DATABASE = "retail_db.json"


class DataError(Exception):
    """The folder is not what it should be; the message says what to do."""


@dataclass(frozen=True)
class Call:
    """One tool call of the model, and what the tool gave."""

    place: int
    """1, 2, 3, ... in its conversation: ids of calls need not be unique in it."""
    id: str
    tool: str
    arguments: dict[str, Any]
    result: Any = None
    """The result as JSON; a text that is no JSON is itself."""
    answered: bool = False
    """Whether the recording has a result."""
    failed: bool = False


@dataclass(frozen=True)
class Step:
    """One answer of the model: words, tool calls, or both."""

    text: str
    calls: tuple[Call, ...] = ()
    usage: dict[str, int] | None = None


@dataclass
class Turn:
    """One message of the user and the model's answers to it, of which the last is for the user."""

    user: str
    steps: list[Step] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether the recording goes on until the user has an answer."""
        return bool(self.steps) and not self.steps[-1].calls


@dataclass
class Recording:
    """One conversation."""

    id: str
    greeting: str | None
    """What the assistant said before anybody had asked."""
    turns: list[Turn]
    policy: str = ""
    """What the agent was told to do."""
    expected: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """The calls that its task wanted; what they leave in the database is the right end."""
    right_end: bool | None = None
    """Whether the recorded conversation left the database as its task wanted; None where that was not judged."""

    def calls(self) -> list[Call]:
        """All tool calls, in their order."""
        return [call for turn in self.turns for step in turn.steps for call in step.calls]


def database_of(folder: Path) -> dict[str, Any]:
    """The shop's data. Raises `DataError`."""
    file = folder / DATABASE
    if not file.is_file():
        raise DataError(f"{folder} has no {DATABASE}; give the folder of recorded runs and their database.")
    data: dict[str, Any] = json.loads(file.read_bytes())
    return data


def recordings_of(folder: Path) -> list[Recording]:
    """All conversations of a folder, in the order of its files. Raises `DataError` where there is none."""
    found: list[Recording] = []
    for file in sorted(folder.glob("*.json")):
        if file.name == DATABASE:
            continue
        document = json.loads(file.read_bytes())
        if isinstance(document, dict) and isinstance(document.get("simulations"), list):
            found += _recordings(file.stem, document)
    if not found:
        raise DataError(f"{folder} has no file with recorded conversations (a member 'simulations').")
    return found


def _recordings(name: str, document: Mapping[str, Any]) -> Iterator[Recording]:
    policy = ((document.get("info") or {}).get("environment_info") or {}).get("policy") or ""
    tasks = {task["id"]: task for task in document.get("tasks") or []}
    for number, simulation in enumerate(document["simulations"]):
        greeting, turns = _turns(simulation["messages"])
        if not turns:
            continue  # nobody was answered: there is nothing to play
        wanted = (tasks.get(simulation.get("task_id")) or {}).get("evaluation_criteria") or {}
        checked = (simulation.get("reward_info") or {}).get("db_check") or {}
        yield Recording(
            id=f"{name}/{number} (task {simulation.get('task_id', '?')})",
            greeting=greeting,
            turns=turns,
            policy=policy,
            expected=[
                (action["name"], action["arguments"] or {})
                for action in wanted.get("actions") or []
                if action.get("requestor", "assistant") == "assistant"
            ],
            right_end=checked.get("db_match"),
        )


def _turns(messages: list[dict[str, Any]]) -> tuple[str | None, list[Turn]]:
    """The opening words of the assistant, if any, and the turns that were answered."""
    greeting: str | None = None
    turns: list[Turn] = []
    place = 0
    for index, message in enumerate(messages):
        if message["role"] == "user":
            turns.append(Turn(message["content"] or ""))
        elif message["role"] == "assistant" and not turns:
            greeting = "\n\n".join(part for part in (greeting, message["content"]) if part)
        elif message["role"] == "assistant":
            step = _step(message, _results_after(messages, index), place + 1)
            place += len(step.calls)
            turns[-1].steps.append(step)
    # What a user said last, to end the conversation, nobody answered.
    return greeting, [turn for turn in turns if turn.steps]


def _results_after(messages: list[dict[str, Any]], index: int) -> dict[str, dict[str, Any]]:
    """By the id of the call: the results that stand between a message and the next that is none."""
    found: dict[str, dict[str, Any]] = {}
    for message in messages[index + 1 :]:
        if message["role"] != "tool":
            break
        found[message["id"]] = message
    return found


def _step(message: Mapping[str, Any], results: Mapping[str, Mapping[str, Any]], place: int) -> Step:
    calls = [
        Call(
            place=number,
            id=call["id"],
            tool=call["name"],
            arguments=call["arguments"] or {},
            result=json_or_text(results[call["id"]]["content"]) if call["id"] in results else None,
            answered=call["id"] in results,
            failed=bool(results.get(call["id"], {}).get("error")),
        )
        for number, call in enumerate(message.get("tool_calls") or [], place)
    ]
    return Step(message["content"] or "", tuple(calls), message.get("usage"))


def json_or_text(content: str | None) -> Any:
    """A result as recorded: JSON, or a text that is none."""
    try:
        return json.loads(content or "")
    except ValueError:
        return content


def same_json(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON: 1 and 1.0 are one number, and true is none."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_json(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_json, one, other))
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return one == other
    return type(one) is type(other) and bool(one == other)
