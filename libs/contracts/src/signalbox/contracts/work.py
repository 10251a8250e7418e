"""Calls from Workflow, Flows and Skills to the services that do the work.

Flows and Skills answer as a stream of frames, one JSON object a line (``application/x-ndjson``): events as
they happen, then exactly one result or error frame, which is always the last.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from signalbox.contracts.base import Identifier, WireModel
from signalbox.contracts.context import CallContext, ChatMessage
from signalbox.contracts.events import UsageData, WorkEvent
from signalbox.contracts.pauses import Pause, Verdict
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


class Done(WireModel):
    """One thing that a flow has done, in order, so that a correction can run it again without repeating it."""

    step: int
    kind: Literal["answer", "call", "confirm", "reply", "flow"]
    slot: Identifier | None = None
    """The slot that was answered, the name that a result was saved under, or the subflow."""
    value: Any = None
    """The answer, or what a write gave back."""
    digest: str | None = None
    """Of a call's arguments, of the question that was confirmed, or of what was said."""
    write: bool = False
    key: str | None = None
    """Of a write: its idempotency key."""
    given: dict[str, Any] = {}
    """Of a subflow: the values that it began with."""
    done: list["Done"] = []
    """Of a subflow: what it did."""


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
    given: dict[str, Any] = {}
    """Values of slots that the flow began with."""
    unchecked: list[str] = []
    """Slots of these whose values were not validated yet."""
    done: list[Done] | None = None
    """What it has done so far; None where that is not known (an older release), so that it cannot run again."""
    began: str | None = None
    """What the keys of its calls begin with, the same in every turn; None where an older release began it."""
    visits: dict[str, int] = {}
    """How often it was at each place where it calls something, by the place's part of the key."""


class FlowRunRequest(WireModel):
    """Start a flow, or go on with one."""

    context: CallContext
    flow: Identifier
    arguments: dict[str, Any] = {}
    """Values for slots, when the flow starts."""
    state: FlowState | None = None
    message: str
    history: list[ChatMessage] = []
    corrections: dict[str, Any] = {}
    """Values that replace those of slots, when the flow goes on; the message then is no answer."""
    asking: bool = False
    """Whether to ask the open question again, and nothing else: the message was about something else."""
    place: str = ""
    """Made a part of the keys of calls, where a turn runs more than one flow."""
    not_understood: str | None = None
    """Said, in place of the flow's own words, where the message is no answer."""


class FlowReadRequest(WireModel):
    """Look at a message that came while a flow is open, without going on with the flow."""

    context: CallContext
    state: FlowState
    message: str
    arguments: dict[str, Any] = {}
    """Parameters of an intent that leads to the same flow again."""


class FlowReading(WireModel):
    """What a message is to the open flow."""

    fit: Literal["exact", "within", "loose", "none"]
    """Whether it answers the open question: as a whole, with more around it, only because that takes any text, not."""
    stops: bool = False
    """Whether it says to give up."""
    corrections: dict[str, Any] = {}
    """Slots that it changes, innermost flow first to have one of the name."""
    certain: bool = False
    """Whether its words are those of a correction and of nothing else."""
    asks: bool = False
    """Whether it is a question itself, or says that it is about something else."""
    question: str = ""
    """The open question."""


class FlowResult(WireModel):
    """Where the flow stands now."""

    status: WorkStatus
    message: str
    parts: list[Part] = []
    state: FlowState | None = None
    """To be sent back with the next message; null when the flow has ended."""
    action: Identifier | None = None
    reason: str | None = None
    untranslated: list[str] = []
    """Languages in which texts were said that the workflow does not have in the turn's."""
    slots: dict[str, Any] = {}
    """Values of the flow that has ended, for its action."""


class Passage(WireModel):
    """Text of a knowledge source that an answer may be taken from."""

    text: str
    title: str = ""
    url: str | None = None


class SkillRunRequest(WireModel):
    """Run a skill, or resume a run that was interrupted or waits."""

    context: CallContext
    skill: Identifier
    run_id: str
    """Given by the caller; the same id resumes the same run."""
    attempt: int = 1
    """How many times the caller has called with this id, this one included."""
    elapsed_ms: int = 0
    """How long ago it first did so: time that counts in the run's budget."""
    arguments: dict[str, Any] = {}
    message: str
    history: list[ChatMessage] = []
    model: str | None = None
    """Overrides the role's model, when degraded."""
    passages: list[Passage] = []
    """What knowledge sources had for the message; data, cited as ``[1]``, ``[2]``, ..."""
    verdicts: dict[str, Verdict] = {}
    """What persons said to calls of a run that waits, by call id. With any the run goes on, and never begins anew."""


class SkillResult(WireModel):
    """What a run came to."""

    status: WorkStatus
    message: str
    output: Any = None
    parts: list[Part] = []
    action: Identifier | None = None
    reason: str | None = None
    """A stable code where the run ended early: ``max_steps``, ``budget``, ``deadline``, ``model_unavailable``."""
    pause: Pause | None = None
    """Of a run that waits: for whom, and with which calls."""
    degraded: str | None = None
    """The code of what was exhausted, where another model or none did the work for that."""
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
