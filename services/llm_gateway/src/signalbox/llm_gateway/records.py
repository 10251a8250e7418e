"""What the ledger keeps of a call and of its attempts."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote

from signalbox.contracts import headers as names
from signalbox.llm_gateway.protocol import Tokens

Outcome = Literal["ok", "error", "timeout", "aborted"]
"""``aborted``: the client left before the answer was whole."""

_UNSTORABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_MAX_LABEL = 200


@dataclass(frozen=True, slots=True)
class Labels:
    """Where a call comes from, as its caller says."""

    workflow_id: str | None = None
    session_id: str | None = None
    skill_id: str | None = None
    purpose: str = "production"

    @classmethod
    def from_headers(cls, headers: Mapping[str, str]) -> "Labels":
        """From request headers with lower-case names; values are percent-encoded."""

        def label(name: str) -> str | None:
            return storable(unquote(headers.get(name, ""))) or None

        return cls(
            workflow_id=label(names.WORKFLOW_ID),
            session_id=label(names.SESSION_ID),
            skill_id=label(names.SKILL_ID),
            purpose=label(names.PURPOSE) or "production",
        )


@dataclass(frozen=True, slots=True)
class LedgerAttempt:
    """One attempt at one provider. ``cost_pico`` is None where the deployment has no price."""

    number: int
    deployment: str
    model_answered: str | None
    tokens: Tokens
    cost_pico: int | None
    currency: str | None
    estimated: bool
    outcome: Outcome
    status: int
    error_code: str | None
    latency_ms: int


@dataclass(frozen=True, slots=True)
class LedgerCall:
    """One call. Tokens and cost are the sums of its attempts'.

    ``priced`` says that every attempt has a price; a call without is not one that cost nothing.
    """

    tenant: str
    call_id: str
    subject: str
    labels: Labels
    operation: str
    model_asked: str
    model_answered: str | None
    deployment: str | None
    streamed: bool
    tokens: Tokens
    cost_pico: int | None
    currency: str | None
    priced: bool
    estimated: bool
    """Whether tokens of an attempt had to be estimated, as its provider did not report them."""
    emulated: str | None
    outcome: Outcome
    status: int
    error_code: str | None
    latency_ms: int
    first_token_ms: int | None
    trace_id: str | None
    created_at: int
    attempts: tuple[LedgerAttempt, ...] = field(default=())


def storable(text: str, limit: int = _MAX_LABEL) -> str:
    """The text without what no database column can hold, cut at ``limit`` characters."""
    return _UNSTORABLE.sub("", text)[:limit]
