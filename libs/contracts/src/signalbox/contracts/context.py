"""What every call between services says about the turn that it belongs to."""

from typing import Any

from signalbox.contracts.base import ConfigHash, ExternalId, Identifier, LanguageTag, WireModel


class CallContext(WireModel):
    """The turn behind a call. The tenant is repeated from the token, and callees check that they agree."""

    tenant: Identifier
    subject: ExternalId
    """The principal that posted the message."""
    workflow_id: Identifier
    config_hash: ConfigHash
    session_id: ExternalId
    user_id: ExternalId | None = None
    turn_id: str
    epoch: int = 1
    language: LanguageTag = "en"
    timezone: str = "UTC"
    """IANA time zone name."""
    now_ms: int
    """The turn's own clock, so that a repeated step computes the same dates."""
    profile: dict[str, Any] = {}
    metadata: dict[str, Any] = {}


class ChatMessage(WireModel):
    """An earlier message of the conversation, as callees may show it to a model."""

    role: str
    """``user``, ``assistant``, ``human_agent`` or ``system``."""
    text: str
    turn_id: str | None = None
    """The turn that it is of, so that a skill finds what its tools gave then; None of a summary."""
