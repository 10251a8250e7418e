"""Markdown tables made from contracts: fields of models, events, and the values of every status."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

import orjson
from pydantic import BaseModel

from signalbox.contracts import background, events, query, work
from signalbox.contracts.problem import Problem, ProblemError

_REQUEST_MODELS: tuple[type[BaseModel], ...] = (
    query.QueryRequest,
    query.AttachmentRef,
    query.FeedbackRequest,
)
_REPLY_MODELS: tuple[type[BaseModel], ...] = (
    query.QueryReply,
    query.Decision,
    query.TurnView,
    query.SessionView,
    query.WorkflowState,
    query.MessageView,
    query.Deleted,
    query.WorkflowHealth,
    Problem,
    ProblemError,
)
_BACKGROUND_MODELS: tuple[type[BaseModel], ...] = (
    background.WebhookTarget,
    background.TaskView,
    background.BatchRequest,
    background.BatchView,
    background.BatchProgress,
    background.ScheduleRequest,
    background.ScheduleView,
    background.WebhookView,
)
_EVENT_MODELS: tuple[type[BaseModel], ...] = get_args(get_args(events.TurnEvent)[0])
_PART_MODELS: tuple[type[BaseModel], ...] = get_args(get_args(query.Part)[0])

_LIMITS = {
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "maxItems": "at most {} items",
    "maxProperties": "at most {} members",
}

_STATUSES: Mapping[str, tuple[tuple[Any, ...], Mapping[str, str]]] = {
    "`status` of a query's reply": (
        get_args(query.QueryStatus),
        {
            "success": "Answered.",
            "clarify": "It asks which of several things was meant.",
            "waiting": "It asks for a value or a yes, by the next message; with a `pause_id`, by an operator.",
            "handoff": "A person takes over; the assistant stays silent until the session is deleted or expires.",
            "closed": "The session is over; the next message begins afresh.",
            "degraded": "Answered with less than usual; `reason` says why.",
            "error": "The work failed and `message` says so; `reason` has the code. The turn is committed.",
        },
    ),
    "`decision.stage`, and `stage` of an `intent` event": (
        get_args(query.Stage),
        {
            "rule": "A pattern or a keyword matched.",
            "example": "The classifier trained on the intents' examples decided.",
            "llm": "A model decided.",
            "flow": "The open flow took the message as the answer to its question.",
            "choice": "The message was the value of a choice offered before.",
            "none": "Nothing decided: the fallback answered, or the session is with a person.",
        },
    ),
    "`status` of a turn": (
        get_args(query.TurnState),
        {
            "running": "Being answered.",
            "committed": "Answered, and kept.",
            "failed": "It ended without a reply, and nothing of it counts.",
            "cancelled": "Somebody stopped it, and nothing of it counts.",
        },
    ),
    "`status` of a task": (
        get_args(background.TaskStatus),
        {
            "pending": "Waits for a worker, or for its turn in its batch.",
            "running": "A worker has it.",
            "success": "Over: `result` is the reply.",
            "failed": "Over: `error` says why.",
            "cancelled": "Over: somebody stopped it, and nothing of it counts.",
        },
    ),
    "`status` of a batch": (
        get_args(background.BatchStatus),
        {"running": "Some items are not over.", "finished": "All items are over."},
    ),
    "`status` of a schedule": (
        get_args(background.ScheduleStatus),
        {"active": "It runs.", "paused": "It does not run until it is made active again."},
    ),
    "`status` of a webhook": (
        get_args(background.WebhookStatus),
        {
            "pending": "Waits for its time.",
            "sending": "Is being delivered.",
            "delivered": "The receiver has answered with 2xx.",
            "dead": "Given up after ten attempts in 75 hours; it can be replayed.",
        },
    ),
    "`workflow_state.status` of a session": (
        get_args(query.WorkflowState.model_fields["status"].annotation),
        {
            "active": "The next message is matched against the intents.",
            "waiting": "A flow waits for the answer to its question.",
            "transferred": "With a person.",
            "closed": "Over; the next message begins afresh.",
        },
    ),
    "`status` of health": (
        get_args(query.WorkflowHealth.model_fields["status"].annotation),
        {"healthy": "Serving.", "degraded": "Serving with less than usual."},
    ),
    "`target.kind` of an `intent` event": (
        get_args(events.RouteTarget.model_fields["kind"].annotation),
        {
            "flow": "A flow was started, or goes on.",
            "skill": "A skill was run.",
            "tool": "A tool was called and its result rendered.",
            "action": "A system action was taken.",
            "reply": "A text was the answer.",
            "none": "Nothing was done.",
        },
    ),
    "`error` of a `tool_result` event": (
        get_args(work.ToolError.model_fields["code"].annotation),
        {
            "invalid_arguments": "The arguments do not fit the tool's schema; nothing was sent.",
            "not_found": "The workflow has no such tool.",
            "refused": "The address is not allowed, or the call was refused before it did anything.",
            "timeout": "No answer in time.",
            "unreachable": "No connection.",
            "upstream_error": "The service behind the tool answered with an error.",
            "too_large": "The answer is larger than `response.max_bytes`.",
            "bad_response": "The answer cannot be read, or `response.error_when` was true of it.",
            "unknown_outcome": "The answer to a write was lost: it may have been carried out.",
            "denied": "A person, or a policy, said no.",
        },
    ),
}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows)]


def sentence(text: str | None) -> str:
    """A docstring's first paragraph on one line, its literals as Markdown writes them."""
    first = (text or "").strip().split("\n\n")[0]
    return " ".join(first.split()).replace("``", "`").replace("|", "\\|")


def statuses() -> list[str]:
    """What every value of every status means.

    Raises:
        ValueError: a value has no meaning here, or a meaning no value any more.
    """
    lines: list[str] = []
    for title, (values, meanings) in _STATUSES.items():
        if set(values) != set(meanings):
            different = ", ".join(sorted(set(values) ^ set(meanings)))
            raise ValueError(
                f"{title}: say in {__name__} what these values mean, or remove them: {different}"
            )
        lines += [f"**{title}**", ""]
        lines += [*table(["value", "meaning"], [[f"`{value}`", meanings[value]] for value in values]), ""]
    return lines[:-1]


def request_models() -> list[str]:
    """Bodies of requests."""
    return _models(_REQUEST_MODELS)


def reply_models() -> list[str]:
    """Bodies of answers."""
    return _models(_REPLY_MODELS)


def background_models() -> list[str]:
    """Bodies of requests and answers of work in the background."""
    return _models(_BACKGROUND_MODELS)


def part_models() -> list[str]:
    """The parts of a reply."""
    rows = []
    for model in _PART_MODELS:
        fields = [f"`{name}` {_type(model, name)}" for name in model.model_fields if name != "type"]
        kind = model.model_fields["type"].default
        rows.append([f"`{kind}`", "; ".join(fields), sentence(model.__doc__)])
    choice = [f"`{name}` {_type(query.Choice, name)}" for name in query.Choice.model_fields]
    return [
        *table(["`type`", "fields", "meaning"], rows),
        "",
        f"A *Choice*: {'; '.join(choice)}. {sentence(query.Choice.__doc__)}",
    ]


def event_models() -> list[str]:
    """The events of a turn, with the fields of their ``data``."""
    lines: list[str] = []
    for model in _EVENT_MODELS:
        name = model.model_fields["type"].default
        data = model.model_fields["data"].annotation
        lines += [f"### `{name}`", "", sentence(model.__doc__), ""]
        if data in {query.QueryReply, Problem}:
            lines += [f"`data` is a [{data.__name__}](#{data.__name__.lower()}).", ""]
        elif data is not None:
            lines[-2] += f" {sentence(data.__doc__)}" if data.__doc__ else ""
            lines += [*_fields(data), ""]
            for nested in (events.RouteTarget,) if data is events.IntentData else ():
                fields = [f"`{field}` {_type(nested, field)}" for field in nested.model_fields]
                lines += [f"`target`: {'; '.join(fields)}.", ""]
    return lines[:-1]


def _models(models: Iterable[type[BaseModel]]) -> list[str]:
    lines: list[str] = []
    for model in models:
        lines += [f"### {model.__name__}", "", sentence(model.__doc__), "", *_fields(model), ""]
    return lines[:-1]


def _fields(model: type[BaseModel]) -> list[str]:
    return table(["field", "type", "default", "meaning"], _rows(model))


def _rows(model: type[BaseModel]) -> Iterator[list[str]]:
    properties = model.model_json_schema(mode="validation")["properties"]
    for name, field in model.model_fields.items():
        default = "**required**"
        if not field.is_required():
            default = f"`{orjson.dumps(field.get_default(call_default_factory=True)).decode()}`"
        meaning = " ".join(part for part in (sentence(field.description), _limits(properties[name])) if part)
        yield [f"`{name}`", _type(model, name), default, meaning]


def _limits(schema: Mapping[str, Any]) -> str:
    parts = [schema, *schema.get("anyOf", [])]
    found = [text.format(part[key]) for part in parts for key, text in _LIMITS.items() if key in part]
    return f"({', '.join(found)})" if found else ""


def _type(model: type[BaseModel], name: str) -> str:
    schema = model.model_json_schema(mode="serialization")["properties"][name]
    return _schema_type(schema)


def _schema_type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "const" in schema:
        return f'`"{schema["const"]}"`'
    if "enum" in schema:
        return " \\| ".join(f'`"{value}"`' for value in schema["enum"])
    if options := schema.get("anyOf"):
        return " or ".join(dict.fromkeys(_schema_type(option) for option in options))
    if "oneOf" in schema:
        return "Part"
    if schema.get("type") == "array":
        return f"list of {_schema_type(schema['items'])}"
    return str(schema.get("type", "any value"))
