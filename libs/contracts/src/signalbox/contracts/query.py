"""The public query API: messages in, replies out, and views of turns and sessions."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticSerializationError, to_json

from signalbox.contracts.base import (
    ConfigHash,
    EpochMs,
    ExternalId,
    Identifier,
    LanguageTag,
    PublicRequest,
    SessionId,
    WireModel,
)

QueryStatus = Literal["success", "clarify", "waiting", "handoff", "closed", "degraded", "error"]
"""``success`` answered; ``clarify`` asks what was meant; ``waiting`` asks for a slot, a confirmation or an approval;
``handoff`` a person takes over; ``closed`` the session is over; ``degraded`` answered with less, and why;
``error`` the work failed and the reply says so."""

Stage = Literal["rule", "example", "llm", "flow", "choice", "none"]
"""What decided where a turn went: a rule, the classifier, a model, the open flow, a chosen option, or nothing.
A skill that the client addresses is a ``choice`` too."""

TurnState = Literal["running", "committed", "failed", "cancelled"]


class AttachmentRef(PublicRequest):
    """A file uploaded before, or an image by URL."""

    id: str | None = None
    url: str | None = None
    media_type: str | None = None
    name: str | None = None


class QueryRequest(PublicRequest):
    """One message of a user."""

    message: str = Field(min_length=1, max_length=100_000)
    session_id: SessionId
    user_id: ExternalId | None = None
    """Counts only where the key may act for users; otherwise the user is the key's own subject."""
    workflow_id: Identifier | None = None
    """None is the session's workflow, else the tenant's default."""
    skill: Identifier | None = None
    """A skill that the workflow lets clients address (``direct``): it does the work, whatever the message may mean."""
    language: LanguageTag | None = None
    timezone: str | None = Field(default=None, max_length=64)
    metadata: dict[str, Any] = Field(default={}, max_length=50)
    attachments: list[AttachmentRef] = Field(default=[], max_length=20)

    @field_validator("metadata")
    @classmethod
    def _encodable(cls, metadata: dict[str, Any]) -> dict[str, Any]:
        try:
            to_json(metadata)
        except PydanticSerializationError as error:
            raise ValueError("no encoding can carry what is in it (half a surrogate pair)") from error
        return metadata


class Choice(WireModel):
    """One option to pick; posting ``value`` as the message picks it without a classifier or a model."""

    label: str
    value: str


class ChoicesPart(WireModel):
    """Options, of which one may be picked."""

    type: Literal["choices"] = "choices"
    choices: list[Choice]


class LinkPart(WireModel):
    """A link."""

    type: Literal["link"] = "link"
    url: str
    title: str = ""


class ImagePart(WireModel):
    """An image by URL."""

    type: Literal["image"] = "image"
    url: str
    alt: str = ""


class CardPart(WireModel):
    """A card: title, text, image, link."""

    type: Literal["card"] = "card"
    title: str
    text: str = ""
    image_url: str | None = None
    url: str | None = None


class CitationPart(WireModel):
    """The source of a statement in the message."""

    type: Literal["citation"] = "citation"
    title: str
    url: str | None = None
    quote: str = ""


class CustomPart(WireModel):
    """Anything else, as JSON, for a client that knows it."""

    type: Literal["custom"] = "custom"
    data: dict[str, Any]


Part = Annotated[
    ChoicesPart | LinkPart | ImagePart | CardPart | CitationPart | CustomPart, Field(discriminator="type")
]


class Decision(WireModel):
    """How a turn was understood."""

    stage: Stage
    intent: str | None = None
    score: float | None = None
    took_us: int = 0
    """Microseconds from the message to the decision, all stages that were asked included."""
    cached: bool = False
    """Whether a model had decided the same before, and was not asked again."""


class QueryReply(WireModel):
    """The answer to one message; the turn is committed before it is sent."""

    session_id: str
    message: str
    """Greeting and answer, complete as plain text."""
    status: QueryStatus
    turn_id: str
    agent_id: str
    greeting: str | None = None
    parts: list[Part] = []
    reason: str | None = None
    """Why, for ``degraded`` and ``error``, and for ``clarify`` where a model would have known: a stable code."""
    decision: Decision | None = None
    pause_id: str | None = None
    """Of a run that waits for an operator; what comes of it is a later turn of the session."""
    language: str = "en"
    untranslated: list[str] = []
    """Other languages in which some of the message is, because the workflow has no text for it in ``language``."""
    trace_id: str | None = None


class TurnView(WireModel):
    """A turn as it stands."""

    turn_id: str
    session_id: str
    seq: int
    status: TurnState
    reply: QueryReply | None = None
    """Null until the turn is committed."""
    created_at: EpochMs
    committed_at: EpochMs | None = None


class FeedbackRequest(PublicRequest):
    """What the user thought of a turn."""

    thumb: Literal["up", "down"]
    comment: str = Field(default="", max_length=2000)


class MessageView(WireModel):
    """One message of a session's history."""

    seq: int
    """Position in the session: 1, 2, 3, ... with no gap."""
    role: Literal["user", "assistant", "human_agent", "system"]
    text: str
    parts: list[Part] = []
    """Of a reply: as it had them."""
    turn_id: str | None = None
    created_at: EpochMs


class WorkflowState(WireModel):
    """Where the session stands in its workflow."""

    config_hash: ConfigHash | None = None
    need_greeting: bool
    status: Literal["active", "waiting", "transferred", "closed"]


class SessionView(WireModel):
    """A session and one page of its messages."""

    session_id: str
    agent_id: str
    workflow_state: WorkflowState
    message_count: int
    messages: list[MessageView]
    next_after: int | None = None
    """Pass as ``?after=`` for the next page; null on the last one."""
    created_at: EpochMs
    expires_at: EpochMs


class Deleted(WireModel):
    """Something is gone."""

    status: Literal["deleted"] = "deleted"


class HumanMessageRequest(PublicRequest):
    """A person answers in a session that was handed off."""

    role: Literal["human_agent"] = "human_agent"
    text: str = Field(min_length=1, max_length=100_000)


class WorkflowHealth(WireModel):
    """Health for clients; the counts are omitted without a credential."""

    status: Literal["healthy", "degraded"]
    config_hash: str | None = None
    sessions_count: int | None = None
