"""What a workflow caps: messages in a minute, and what models cost by session and by user.

Budgets of tenants, keys and workflows are the LLM Gateway's; these are the workflow author's own.
"""

import logging
from datetime import datetime
from decimal import Decimal
from typing import Protocol
from zoneinfo import ZoneInfo

from signalbox.common.cache import Cache, Window, key
from signalbox.common.errors import BadRequest, Unavailable
from signalbox.contracts.config import LlmLimits, MessageLimits
from signalbox.contracts.context import CallContext
from signalbox.workflow.allowance import UNLIMITED, Allowance
from signalbox.workflow.records import Session
from signalbox.workflow.snapshot import WorkflowSnapshot

_LOG = logging.getLogger(__name__)

_MINUTE_S = 60
_PICO = 10**12
_REFUSALS = ("session_messages_capped", "user_messages_capped", "workflow_messages_capped")


class MessageTooLong(BadRequest):
    """The message is longer than its workflow takes."""

    code = "message_too_long"

    def __init__(self, limit: int) -> None:
        super().__init__(f"This workflow takes messages of {limit} characters at most; send a shorter one.")


class Spending(Protocol):
    """What turns have cost."""

    async def of_user(self, tenant: str, user_id: str, since: int) -> int:
        """What the user's turns since a moment (epoch ms) cost, in 10^-12 currency units."""
        ...

    async def of_summaries(self, session: Session) -> int:
        """What the summaries of the session's epoch cost that were made after a turn's reply, in the same units."""
        ...


class Caps:
    """Checks a turn against its workflow's caps."""

    def __init__(self, cache: Cache, spending: Spending) -> None:
        self._windows = cache.windows
        self._spending = spending

    async def allowance(
        self, snapshot: WorkflowSnapshot, session: Session, context: CallContext, message: str
    ) -> Allowance:
        """Count a message, and say what its turn may do. Costs nothing where nothing is capped.

        Raises:
            MessageTooLong: the workflow does not take messages of this length.
        """
        limits, costs = snapshot.config.policies.limits, snapshot.config.llm.limits
        if len(message) > limits.max_message_chars:
            raise MessageTooLong(limits.max_message_chars)
        windows = _windows(limits, context)
        if windows:
            refusal = await self._counted(windows)
            if refusal is not None:
                return Allowance(refusal=refusal)
        if costs.cost_per_session is None and costs.cost_per_user_per_day is None:
            return UNLIMITED

        async def check() -> str | None:
            return await self._spent(costs, session, context)

        return Allowance(check)

    async def _counted(self, windows: dict[str, Window]) -> str | None:
        try:
            full = await self._windows.count(tuple(windows.values()), _MINUTE_S)
        except Unavailable as error:
            # A cap keeps costs and abuse down; nobody goes without an answer because it cannot be counted.
            _LOG.warning("messages are not counted: %s", error.detail)
            return None
        return next((code for code, window in windows.items() if window is full), None)

    async def _spent(self, costs: LlmLimits, session: Session, context: CallContext) -> str | None:
        if costs.cost_per_session is not None:
            spent = max(session.state.spent.values(), default=0)
            if _reached(spent + await self._spending.of_summaries(session), costs.cost_per_session):
                return "session_cost_capped"
        if costs.cost_per_user_per_day is None or context.user_id is None:
            return None
        today = datetime.fromtimestamp(context.now_ms / 1000, ZoneInfo(context.timezone))
        since = int(today.replace(hour=0, minute=0, second=0, microsecond=0).timestamp() * 1000)
        spent = await self._spending.of_user(context.tenant, context.user_id, since)
        return "user_cost_capped" if _reached(spent, costs.cost_per_user_per_day) else None


def _windows(limits: MessageLimits, context: CallContext) -> dict[str, Window]:
    """The windows that a message counts in, by the code of their refusal."""
    names = (
        (limits.messages_per_minute_per_session, ("session", context.session_id)),
        (limits.messages_per_minute_per_user, ("user", context.user_id)),
        (limits.messages_per_minute, ("workflow", context.workflow_id)),
    )
    return {
        code: Window(key("messages", context.tenant, kind, name), limit)
        for code, (limit, (kind, name)) in zip(_REFUSALS, names, strict=True)
        if limit is not None and name is not None
    }


def _reached(spent: int, cap: Decimal | None) -> bool:
    return cap is not None and spent >= cap * _PICO
