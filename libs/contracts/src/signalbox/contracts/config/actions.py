"""System actions and timers."""

from typing import Any, Literal

from pydantic import Field

from signalbox.contracts.base import ConfigModel, Identifier, LocalizedText, SecretRef


class WebhookRequest(ConfigModel):
    """Where a ``webhook`` action is delivered, signed per Standard Webhooks."""

    url: str
    secret: SecretRef
    headers: dict[str, str] = {}
    payload: dict[str, Any] = {}
    """Templates over ``parameters``, ``slots``, ``reason``, ``message``, ``transcript`` (of a handoff) and ``context``;
    none sends the ids of the turn and all of these."""


class Action(ConfigModel):
    """Something that Signalbox itself does."""

    id: Identifier
    type: Literal["handoff", "close", "update_profile", "webhook"]
    description: str = ""
    silent: bool = False
    """Whether the action is taken without a reply of its own."""
    reply: LocalizedText | None = None
    profile: dict[Identifier, Any] = {}
    """For ``update_profile``: values, as templates over ``parameters`` and ``context``."""
    webhook: WebhookRequest | None = None
    """For ``webhook``, and for ``handoff`` where the transcript is delivered somewhere."""


class Timer(ConfigModel):
    """An action after a silence of the user; cancelled by the next message."""

    id: Identifier
    delay_seconds: int = Field(ge=1, le=2_592_000)
    max_triggers: int = Field(default=1, ge=1, le=100)
    action: Identifier | None = None
    reply: LocalizedText | None = None
