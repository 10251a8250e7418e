"""Intents: what a message may mean and where it goes."""

from typing import Any, Literal

from pydantic import Field, model_validator

from signalbox.contracts.base import ConfigModel, Identifier, LocalizedText


class When(ConfigModel):
    """How an intent is recognised, cheapest first: patterns and keywords, then examples, then its description."""

    patterns: list[str] = []
    """RE2 patterns, matched case-insensitively anywhere in the message; a named group fills a parameter."""
    keywords: list[str] = []
    """Words or phrases, matched at word boundaries (anywhere, for scripts written without spaces)."""
    examples: list[str] = []
    """Whole sentences to learn from."""


class Parameter(ConfigModel):
    """A value that the message may carry."""

    type: Literal["text", "number", "integer", "boolean", "date", "enum", "list"] = "text"
    description: str = ""
    pattern: str | None = None
    """RE2 pattern searched in the message; its first group (or the whole match) is the value."""
    values: list[str] = []
    """Allowed values of an ``enum``."""
    required: bool = False


class Route(ConfigModel):
    """Where a recognised intent goes: one of flow, skill, tool and action, or a reply alone."""

    flow: Identifier | None = None
    skill: Identifier | None = None
    tool: Identifier | None = None
    action: Identifier | None = None
    reply: LocalizedText | None = None
    """The answer itself; with ``tool``, the template that renders its ``result``."""
    arguments: dict[str, Any] = {}
    """Values for the target, as templates over ``parameters``; none passes the parameters by name."""

    @model_validator(mode="after")
    def _one_target(self) -> "Route":
        targets = [name for name in ("flow", "skill", "tool", "action") if getattr(self, name) is not None]
        if len(targets) > 1:
            raise ValueError(f"give one target, not {' and '.join(targets)}")
        if not targets and self.reply is None:
            raise ValueError("give one of flow, skill, tool, action or reply")
        return self


class Intent(ConfigModel):
    """One meaning of a message."""

    id: Identifier
    description: str = ""
    """What the intent means, in a sentence that a model reads when no rule and no example decides."""
    label: LocalizedText | None = None
    """What users read when they are asked which of several intents they meant; else the description, or the id."""
    when: When = When()
    then: Route
    parameters: dict[Identifier, Parameter] = {}
    priority: int = Field(default=0, ge=-1000, le=1000)
    """Of several rules that match, the highest priority wins; then the longest match; then the first in order."""
