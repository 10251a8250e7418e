"""What the ledger keeps of a call and of its attempts."""

import re
from collections.abc import Mapping
from dataclasses import field
from typing import Literal, get_args
from urllib.parse import unquote

from signalbox.common.record import record
from signalbox.contracts import headers as names
from signalbox.contracts.identity import key_id_of
from signalbox.llm_gateway.errors import MalformedCall
from signalbox.llm_gateway.protocol import Tokens

Outcome = Literal["ok", "error", "timeout", "aborted"]
"""``aborted``: the client left before the answer was whole."""

Purpose = Literal["production", "playground", "test", "replay", "embedding", "compaction"]
"""What a call is made for."""

_PURPOSES = {purpose: purpose for purpose in get_args(Purpose)}
CachedBy = Literal["exact", "semantic", "coalesced"]
"""What answered a call instead of a provider: the answer to the same request, to one that means the same, or that of an
identical call that was under way."""

MAX_PICO = 2**63 - 1
"""The largest amount that a column of the ledger can hold: 9.2 million units of a currency."""

_UNSTORABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_MAX_LABEL = 200


@record
class Labels:
    """Where a call comes from, as its caller says."""

    workflow_id: str | None = None
    session_id: str | None = None
    skill_id: str | None = None
    purpose: Purpose = "production"
    user_id: str | None = None
    """The session's owner, where the caller may say who that is."""

    @classmethod
    def from_headers(cls, headers: Mapping[str, str], *, names_users: bool = False) -> "Labels":
        """From request headers with lower-case names; values are percent-encoded.

        ``names_users``: whether the caller may say for which user it calls; what others say of one is not kept.

        Raises:
            MalformedCall: there is no such purpose.
        """
        if _LABELS.isdisjoint(headers):
            return NO_LABELS

        def label(name: str) -> str | None:
            return storable(unquote(headers.get(name, ""))) or None

        return cls(
            workflow_id=label(names.WORKFLOW_ID),
            session_id=label(names.SESSION_ID),
            skill_id=label(names.SKILL_ID),
            purpose=_purpose(label(names.PURPOSE)),
            user_id=label(names.USER_ID) if names_users else None,
        )


NO_LABELS = Labels()
_LABELS = frozenset((names.WORKFLOW_ID, names.SESSION_ID, names.SKILL_ID, names.PURPOSE, names.USER_ID))


@record
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


@record
class LedgerCall:
    """One call. Tokens and cost are the sums of its attempts'.

    ``priced`` says that the cost is all of it: that every attempt which used something has a price. Without a price
    the cost is None, or less than all: a call that is not priced is not one that cost nothing.
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
    cached: CachedBy | None = None
    """Such a call has no tokens and costs nothing."""
    attempts: tuple[LedgerAttempt, ...] = field(default=())
    reaped: bool = False
    """Whether this is what another process knows of a call whose own process is gone. The call's own row, should it
    come after all, replaces such a one, once."""
    held_pico: int | None = None
    """What budgets count of it instead of its cost, where it is not known what it used: all that it may have cost."""
    lines: list[bytes] = field(init=False, default_factory=list, compare=False, repr=False)
    """Its rows once they have been written, by ``ledger_rows``."""

    @property
    def key_id(self) -> str | None:
        """The API key that it was made with, directly or by a service."""
        return key_id_of(self.subject)


def _purpose(said: str | None) -> Purpose:
    if said is None:
        return "production"
    known: Purpose | None = _PURPOSES.get(said)
    if known is None:
        raise MalformedCall(f"'{names.PURPOSE}' must be one of {', '.join(_PURPOSES)}.")
    return known


def storable(text: str, limit: int = _MAX_LABEL) -> str:
    """The text without what no database column can hold, cut at ``limit`` characters."""
    # What can be printed holds nothing of the kind, which is quickly seen.
    return (text if text.isprintable() else _UNSTORABLE.sub("", text))[:limit]
