"""Whose a call was, in SQL: read and removed in windows of time, so that no statement goes through the whole ledger."""

from collections.abc import Sequence
from typing import Any

from signalbox.common.storage import Database, Statement, Write, any_of, listed
from signalbox.contracts.keeping import OfSessions

_SHOWN = (
    "call_id",
    "session_id",
    "user_id",
    "workflow_id",
    "skill_id",
    "purpose",
    "model_asked",
    "model_answered",
    "input_tokens",
    "output_tokens",
    "cost_pico",
    "currency",
    "outcome",
    "created_at",
)
_WINDOW = "tenant = :in_tenant AND created_at >= :since AND created_at < :until"
_THEIRS = f"({any_of('session_id', 'sessions')} OR user_id = CAST(:in_user AS text))"
_FORGET_NAMES = Statement(
    "UPDATE ledger_calls SET session_id = NULL, user_id = NULL, trace_id = NULL"
    f" WHERE {_WINDOW} AND {_THEIRS}"
    " RETURNING call_id"
)
_KEPT = Statement(
    f"SELECT {listed(_SHOWN)} FROM ledger_calls WHERE {_WINDOW} AND {_THEIRS} ORDER BY created_at, call_id"
)
_OLDEST = Statement("SELECT min(created_at) AS at FROM ledger_calls WHERE tenant = :in_tenant")
# A key of ours is "turn/...": what made the call, and of which turn.
_OF_TURNS = (
    "(/*postgresql split_part(key, '/', 1) = ANY (CAST(:turns AS text[]))*/"
    "/*sqlite substr(key, 1, instr(key || '/', '/') - 1) IN (SELECT value FROM json_each(:turns))*/)"
)
_FORGET_REPLIES = Statement(
    f"DELETE FROM llm_idempotency WHERE tenant = :in_tenant AND {any_of('subject', 'subjects')}"
    f" AND {_OF_TURNS} RETURNING key"
)


class LedgerNames:
    """Sessions and users in the ledger, and replies to repeated calls of turns."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def oldest(self, tenant: str) -> int | None:
        """When the tenant's first call began, in epoch milliseconds."""
        row = await self._database.fetch_one(_OLDEST, {"in_tenant": tenant})
        return None if row is None else row["at"]

    async def forget(self, tenant: str, what: OfSessions, since: int, until: int) -> int:
        """Remove who it was from the calls of a window; what they cost stays. Returns how many there were."""
        [rows] = await self._database.write(Write(_FORGET_NAMES, _params(tenant, what, since, until)))
        return len(rows)

    async def kept(self, tenant: str, what: OfSessions, since: int, until: int) -> list[dict[str, Any]]:
        """The calls of a window, oldest first."""
        return await self._database.fetch_all(_KEPT, _params(tenant, what, since, until))

    async def forget_replies(self, tenant: str, subjects: Sequence[str], turn_ids: Sequence[str]) -> int:
        """Remove the replies that repeated calls of turns would get; returns how many there were."""
        params = {"in_tenant": tenant, "subjects": list(subjects), "turns": list(turn_ids)}
        [rows] = await self._database.write(Write(_FORGET_REPLIES, params))
        return len(rows)


def _params(tenant: str, what: OfSessions, since: int, until: int) -> dict[str, Any]:
    return {
        "in_tenant": tenant,
        "sessions": what.session_ids,
        "in_user": what.user_id,
        "since": since,
        "until": until,
    }
