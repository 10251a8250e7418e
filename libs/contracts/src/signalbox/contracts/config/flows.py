"""Flows: the steps that a conversation follows, and the slots that they fill."""

from typing import Annotated, Any, Literal

from pydantic import Field

from signalbox.contracts.base import ConfigModel, Identifier, JsonSchema, LocalizedText


class EnumValue(ConfigModel):
    """One allowed value of an ``enum`` slot."""

    value: str
    label: LocalizedText | None = None
    """What a person sees; none shows the value."""
    synonyms: list[str] = []


class SlotValidation(ConfigModel):
    """What makes a value acceptable, beyond its type."""

    json_schema: JsonSchema | None = None
    tool: Identifier | None = None
    """A read tool asked whether the value is good; it is, when ``accept`` is true of its ``result``."""
    arguments: dict[str, Any] = {}
    accept: str = "result"
    """Expression over ``result``."""
    message: LocalizedText | None = None
    """Said when the value is refused, before the prompt is repeated."""


class Slot(ConfigModel):
    """A value that a flow needs."""

    id: Identifier
    type: Literal["text", "number", "integer", "boolean", "date", "enum", "entity", "list"] = "text"
    label: LocalizedText | None = None
    """What people call it, each variation one of its names: "change the *street* to ..." corrects it by this."""
    description: str = ""
    prompt: LocalizedText | None = None
    """The question that asks for it; a slot without one is filled but never asked for."""
    required: bool = True
    source: list[Literal["parameter", "message", "model", "profile"]] = ["parameter", "message"]
    """Where a value may come from, in order of trial. With ``model`` before or without ``message``, a model (role
    ``match``) finds the value in an answer; otherwise it is asked where the answer cannot be read by rule."""
    pattern: str | None = None
    """RE2 pattern that an ``entity`` has; its first group (or the whole match) is the value."""
    values: list[EnumValue] = []
    """Of an ``enum``, or of the items of a ``list`` of them."""
    items: Literal["text", "number", "integer", "date", "entity", "enum"] = "text"
    """Type of the items of a ``list``."""
    validation: SlotValidation | None = None
    default: Any = None
    max_attempts: int = Field(default=3, ge=1, le=10)
    """Questions asked before the flow's ``on_error`` takes over."""
    depends_on: list[Identifier] = []
    """Slots of the flow whose correction makes this value worthless: it is asked for again."""


class OnError(ConfigModel):
    """What happens when a step fails: at most one of a jump and an action, after the reply."""

    reply: LocalizedText | None = None
    next: Identifier | None = None
    """Step to go on with; none ends the flow as failed."""
    action: Identifier | None = None
    retries: int = Field(default=0, ge=0, le=5)


class Compensation(ConfigModel):
    """The call that undoes a write, made in reverse order when a later step fails."""

    tool: Identifier
    arguments: dict[str, Any] = {}


class _Step(ConfigModel):
    """What every step has. Without ``next``, the step that follows in the list is run."""

    id: Identifier | None = None
    """Needed only where another step jumps here."""
    next: Identifier | None = None
    on_error: OnError | None = None


class AskStep(_Step):
    """Ask for a slot unless it has a value, and wait for the answer."""

    type: Literal["ask"]
    slot: Identifier
    prompt: LocalizedText | None = None


class CallStep(_Step):
    """Call a tool and keep its result."""

    type: Literal["call"]
    tool: Identifier
    arguments: dict[str, Any] = {}
    """Templates over ``slots``, ``vars``, ``context`` and earlier results; none passes the slots by name."""
    save_as: Identifier = "result"
    compensation: Compensation | None = None


class SetStep(_Step):
    """Give slots or variables of the flow a value."""

    type: Literal["set"]
    values: dict[Identifier, Any]


class Branch(ConfigModel):
    """One case of a branch."""

    when: str
    """Expression over ``slots``, ``vars``, ``context`` and results."""
    next: Identifier


class BranchStep(_Step):
    """Jump to the first case that is true; else go on with ``next`` or the following step."""

    type: Literal["branch"]
    cases: list[Branch] = Field(min_length=1)


class ConfirmStep(_Step):
    """Ask yes or no before going on."""

    type: Literal["confirm"]
    prompt: LocalizedText
    on_no: Identifier | None = None
    """Step to jump to on no; none ends the flow as cancelled."""


class ReplyStep(_Step):
    """Say something: a template of the flow by name, or a text."""

    type: Literal["reply"]
    template: Identifier | None = None
    text: LocalizedText | None = None
    parts: list[dict[str, Any]] = []
    """Rich parts, as templates (see the query reply's ``parts``)."""


class SubflowStep(_Step):
    """Run another flow, then go on."""

    type: Literal["subflow"]
    flow: Identifier
    arguments: dict[str, Any] = {}
    save_as: Identifier | None = None


class EndStep(_Step):
    """End the flow."""

    type: Literal["end"]
    outcome: Literal["completed", "cancelled", "failed"] = "completed"
    action: Identifier | None = None
    """A system action to take as the flow ends (handoff, close, ...)."""


Step = Annotated[
    AskStep | CallStep | SetStep | BranchStep | ConfirmStep | ReplyStep | SubflowStep | EndStep,
    Field(discriminator="type"),
]


class Flow(ConfigModel):
    """A procedure of several steps."""

    id: Identifier
    label: LocalizedText | None = None
    """What people call it, as in "Back to *your return*", when it goes on after an interruption."""
    description: str = ""
    slots: list[Slot] = []
    steps: list[Step] = Field(min_length=1)
    templates: dict[Identifier, LocalizedText] = {}
    """Response templates by name, each in several languages and variations."""
    on_error: OnError | None = None
    cancellable: bool = True
    """Whether the user may give up in the middle."""
    interruptible: bool = True
    """Whether a message that means something else is answered in the middle. Intents that lead to an ``action``
    always are."""
