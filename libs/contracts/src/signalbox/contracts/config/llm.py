"""Which model plays which role, and how much of it a turn may use."""

from decimal import Decimal
from typing import Any, Literal

from pydantic import Field

from signalbox.contracts.base import ConfigModel

ModelRole = Literal["match", "decide", "answer", "embed"]
"""``match`` names an intent, ``decide`` plans the next act, ``answer`` writes and calls tools, ``embed`` embeds."""


class RoleModel(ConfigModel):
    """The model of one role, by the name that the gateway knows."""

    model: str
    temperature: float | None = Field(default=None, ge=0, le=2)
    max_output_tokens: int | None = Field(default=None, ge=1)
    extra: dict[str, Any] = {}
    """Further fields of the request, passed through to the provider."""


class LlmLimits(ConfigModel):
    """Caps on model use."""

    calls_per_turn: int = Field(default=12, ge=0, le=1000)
    tokens_per_turn: int | None = Field(default=None, ge=1)
    cost_per_session: Decimal | None = Field(default=None, gt=0)
    cost_per_user_per_day: Decimal | None = Field(default=None, gt=0)


class LlmConfig(ConfigModel):
    """Models by role; a role without one uses the operator's default for that role."""

    match: RoleModel | None = None
    decide: RoleModel | None = None
    answer: RoleModel | None = None
    embed: RoleModel | None = None
    limits: LlmLimits = LlmLimits()

    def role(self, name: ModelRole) -> RoleModel | None:
        """The model declared for a role, if any."""
        roles: dict[ModelRole, RoleModel | None] = {
            "match": self.match,
            "decide": self.decide,
            "answer": self.answer,
            "embed": self.embed,
        }
        return roles[name]
