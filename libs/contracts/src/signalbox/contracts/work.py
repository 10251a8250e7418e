"""Calls from Workflow, Flows and Skills to the services that do the work.

Flows and Skills answer as a stream of frames, one JSON object a line (``application/x-ndjson``): events as
they happen, then exactly one result or error frame, which is always the last.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from signalbox.contracts.base import Identifier, WireModel
from signalbox.contracts.context import CallContext, ChatMessage
from signalbox.contracts.events import UsageData, WorkEvent
from signalbox.contracts.problem import Problem
from signalbox.contracts.query import Part

WorkStatus = Literal["completed", "waiting", "cancelled", "failed", "handed_off"]


class ToolCallRequest(WireModel):
    """Call one tool of the workflow."""

    context: CallContext
    tool: Identifier
    arguments: dict[str, Any] = {}
    idempotency_key: str
    """Of the caller's own step: ``turn_id/step`` or ``run_id/step``."""
    dry_run: bool = False
    """Show the request, secrets masked, without sending it."""


class ToolError(WireModel):
    """Why a tool call failed."""

    code: Literal[
        "invalid_arguments",
        "not_found",
        "refused",
        "timeout",
        "unreachable",
        "upstream_error",
        "too_large",
        "bad_response",
        "unknown_outcome",
        "denied",
    ]
    detail: str
    http_status: int | None = None
    pointer: str | None = None


class ToolCallReply(WireModel):
    """What a tool gave. A tool that failed is still HTTP 200: the failure is data for a flow or a model."""

    ok: bool
    output: Any = None
    error: ToolError | None = None
    took_ms: float
    attempts: int = 1
    request: dict[str, Any] | None = None
    """For a dry run: method, url, headers and body as they would be sent, secrets masked."""


class FlowState(WireModel):
    """Where a flow stands; it goes out with a reply and comes back with the next call, Flows keeps nothing."""

    flow: Identifier
    step: int
    """Index of the step to run next."""
    slots: dict[str, Any] = {}
    results: dict[str, Any] = {}
    asked: str | None = None
    """The slot, or ``confirm:N``, that the last reply asked for."""
    attempts: int = 0
    parents: list["FlowState"] = []
    """Flows that wait for this subflow, outermost first."""
    done_writes: list[dict[str, Any]] = []
    """Writes carried out so far with their compensation, oldest first."""


class FlowRunRequest(WireModel):
    """Start a flow, or go on with one."""

    context: CallContext
    flow: Identifier
    arguments: dict[str, Any] = {}
    """Values for slots, when the flow starts."""
    state: FlowState | None = None
    message: str
    history: list[ChatMessage] = []


class FlowResult(WireModel):
    """Where the flow stands now."""

    status: WorkStatus
    message: str
    parts: list[Part] = []
    state: FlowState | None = None
    """To be sent back with the next message; null when the flow has ended."""
    action: Identifier | None = None
    reason: str | None = None


class SkillRunRequest(WireModel):
    """Run a skill, or resume a run that was interrupted or waits."""

    context: CallContext
    skill: Identifier
    run_id: str
    """Given by the caller; the same id resumes the same run."""
    arguments: dict[str, Any] = {}
    message: str
    history: list[ChatMessage] = []
    model: str | None = None
    """Overrides the role's model, when degraded."""


class SkillResult(WireModel):
    """What a run came to."""

    status: WorkStatus
    message: str
    output: Any = None
    parts: list[Part] = []
    action: Identifier | None = None
    reason: str | None = None
    """A stable code where the run ended early: ``max_steps``, ``budget``, ``deadline``, ``model_unavailable``."""
    steps: int = 0
    usage: list[UsageData] = []


class EventFrame(WireModel):
    """Something happened."""

    frame: Literal["event"] = "event"
    event: WorkEvent


class FlowResultFrame(WireModel):
    """The last frame of a flow call that worked."""

    frame: Literal["flow_result"] = "flow_result"
    result: FlowResult


class SkillResultFrame(WireModel):
    """The last frame of a skill call that worked."""

    frame: Literal["skill_result"] = "skill_result"
    result: SkillResult


class ErrorFrame(WireModel):
    """The last frame of a call that failed after it had begun to stream."""

    frame: Literal["error"] = "error"
    problem: Problem


Frame = Annotated[EventFrame | FlowResultFrame | SkillResultFrame | ErrorFrame, Field(discriminator="frame")]
