"""The events of a turn: one ordered log, rendered as a reply, a stream or an export.

Only Workflow numbers events. Skills, Flows and the Gateway stream unnumbered ones to it.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from signalbox.contracts.base import WireModel
from signalbox.contracts.problem import Problem
from signalbox.contracts.query import QueryReply, Stage


class StartData(WireModel):
    """The turn began."""

    turn_id: str
    session_id: str
    workflow_id: str
    config_hash: str
    language: str


class RouteTarget(WireModel):
    """What a turn was routed to."""

    kind: Literal["flow", "skill", "tool", "action", "reply", "none"]
    id: str | None = None


class IntentData(WireModel):
    """The message was understood."""

    stage: Stage
    intent: str | None = None
    score: float | None = None
    took_us: int
    cached: bool = False
    target: RouteTarget
    parameters: dict[str, Any] = {}
    iteration: int = 1
    """The decision's number in the turn: later ones are made with the results of those before in view."""


class ToolCallData(WireModel):
    """A tool is about to be called. Arguments are redacted by the tool's own schema before they are kept."""

    call_id: str
    tool: str
    arguments: dict[str, Any]


class ToolResultData(WireModel):
    """A tool answered, or failed."""

    call_id: str
    tool: str
    ok: bool
    output: Any = None
    error: str | None = None
    took_ms: float


class TextData(WireModel):
    """More of the answer's text."""

    delta: str


class UsageData(WireModel):
    """Tokens and cost of one model call."""

    model: str
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    """Of the input: what the provider had in its prompt cache."""
    cost: str | None = None
    """Decimal in ``currency``; null when the model has no price."""
    currency: str = "USD"


class StartEvent(WireModel):
    """First event of a turn."""

    type: Literal["start"] = "start"
    data: StartData


class IntentEvent(WireModel):
    """A decision."""

    type: Literal["intent"] = "intent"
    data: IntentData


class ToolCallEvent(WireModel):
    """A call begins."""

    type: Literal["tool_call"] = "tool_call"
    data: ToolCallData


class ToolResultEvent(WireModel):
    """A call ended."""

    type: Literal["tool_result"] = "tool_result"
    data: ToolResultData


class TextEvent(WireModel):
    """Text for the user."""

    type: Literal["text"] = "text"
    data: TextData


class UsageEvent(WireModel):
    """A model was used."""

    type: Literal["usage"] = "usage"
    data: UsageData


class CompleteEvent(WireModel):
    """Last event of a turn that was committed; everything before it is provisional."""

    type: Literal["complete"] = "complete"
    data: QueryReply


class ErrorEvent(WireModel):
    """Last event of a turn that was not committed."""

    type: Literal["error"] = "error"
    data: Problem


TurnEvent = Annotated[
    StartEvent
    | IntentEvent
    | ToolCallEvent
    | ToolResultEvent
    | TextEvent
    | UsageEvent
    | CompleteEvent
    | ErrorEvent,
    Field(discriminator="type"),
]

WorkEvent = Annotated[ToolCallEvent | ToolResultEvent | TextEvent | UsageEvent, Field(discriminator="type")]
"""An event that a callee (Flows, Skills) streams to Workflow, not numbered yet."""


class NumberedEvent(WireModel):
    """An event in its place: ``id`` counts from 1 in each turn."""

    id: int
    event: TurnEvent
