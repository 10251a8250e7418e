"""Policies: what happens when a message is unclear, too early, too much or too late."""

from typing import Literal

from pydantic import Field

from signalbox.contracts.base import ConfigModel, Identifier, LocalizedText


class Thresholds(ConfigModel):
    """Scores, 0 to 1, that separate routing from asking and asking from falling back."""

    accept: float | None = Field(default=None, ge=0, le=1)
    """At or above: route. None uses the threshold that was chosen on held-out examples when the snapshot was built, and
    0.5 for what a model says."""
    clarify: float = Field(default=0.3, ge=0, le=1)
    """At or above, and below ``accept``: ask which was meant. Below: fall back."""
    margin: float = Field(default=0.1, ge=0, le=1)
    """The best two are closer than this: ask, however high their scores. The best two are named when asking, further
    candidates where they are this close to the best."""


class Fallback(ConfigModel):
    """What is said, or done, when nothing fits."""

    reply: LocalizedText | None = None
    skill: Identifier | None = None
    """A skill that answers whatever no intent covers."""
    action: Identifier | None = None
    """Taken after ``after`` fallbacks in a row."""
    after: int = Field(default=3, ge=1, le=20)


class Disambiguation(ConfigModel):
    """How the assistant asks which of several things was meant."""

    enabled: bool = True
    """Without it a decision that is not sure falls back. Where no model can be asked, examples' best guess is taken if
    it is likelier than not to be right."""
    max_options: int = Field(default=2, ge=2, le=5)
    prompt: LocalizedText | None = None
    """Said before the options, which are numbered below it."""


class Degradation(ConfigModel):
    """What happens when a budget, limit or provider is exhausted, in order; the last word is a reply or an action."""

    model: str | None = None
    """A cheaper model to try first; not where the workflow's own caps are reached."""
    rules_only: bool = True
    """Whether examples decide where no model may; rules always do."""
    reply: LocalizedText | None = None
    action: Identifier | None = None
    """Taken instead of the reply where a message is not understood, and after it where a skill cannot go on."""


class ContextPolicy(ConfigModel):
    """How much of the conversation a model is shown."""

    max_turns: int = Field(default=10, ge=0, le=200)
    max_tokens: int = Field(default=4000, ge=0)
    compact: bool = True
    """Summarise what no longer fits, instead of dropping it."""


class Retention(ConfigModel):
    """How long a conversation is kept."""

    days: int | None = Field(default=None, ge=1)
    """None keeps it until it is deleted, or the tenant's own limit."""


class MessageLimits(ConfigModel):
    """Caps checked before any model is called; over one, ``degradation`` says what answers."""

    max_message_chars: int = Field(default=8000, ge=1, le=100_000)
    """Longer messages are refused."""
    messages_per_minute_per_session: int | None = Field(default=None, ge=1)
    messages_per_minute_per_user: int | None = Field(default=None, ge=1)
    messages_per_minute: int | None = Field(default=None, ge=1)
    """Of all sessions of the workflow together."""


class Repair(ConfigModel):
    """How a conversation that leaves its path finds back to it."""

    max_interrupted: int = Field(default=3, ge=0, le=10)
    """Flows that wait while others run; one more drops the oldest. With 0 an interrupted flow is over."""
    max_digressions: int = Field(default=4, ge=1, le=50)
    """Messages about other things, in a row, after each of which an open question is asked again; one more leaves
    its flow."""
    resume: LocalizedText | None = None
    """Said before the open question of a flow that goes on: a template over ``flow`` (its label, or none)."""


class Policies(ConfigModel):
    """All policies of a workflow, each with a default that is safe to start with."""

    thresholds: Thresholds = Thresholds()
    fallback: Fallback = Fallback()
    degradation: Degradation = Degradation()
    disambiguation: Disambiguation = Disambiguation()
    repair: Repair = Repair()
    double_texting: Literal["queue", "reject", "interrupt"] = "queue"
    """What a second message does while a turn is running."""
    client_gone: Literal["finish", "cancel"] = "finish"
    """What happens to a streamed turn whose client has left."""
    snapshot: Literal["pin", "follow"] = "pin"
    """Whether a session finishes its open flows on the snapshot that they began with. With ``follow`` it moves to a
    newer one in mid-flow, where the flows are still there and the steps at which they wait are the same."""
    session_ttl_seconds: int = Field(default=3600, ge=60, le=31_536_000)
    """Sliding: the first message after it starts afresh."""
    context: ContextPolicy = ContextPolicy()
    retention: Retention = Retention()
    limits: MessageLimits = MessageLimits()
    confirm_writes: bool = False
    """Whether write tools called by a skill ask the user first."""
    max_iterations: int = Field(default=4, ge=1, le=20)
    """Decide-and-act rounds in one turn, the first included. There is more than one only where ``llm.decide`` names a
    model and ``instructions`` has a procedure."""
