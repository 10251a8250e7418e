"""The SQL of idempotency keys."""

from typing import Any

from signalbox.common.storage import Database, Statement, Write, any_of, insert_into
from signalbox.llm_gateway.caching.idempotency.records import CallName, KeyRow

_COLUMNS = (
    "tenant",
    "subject",
    "route",
    "key",
    "request_hash",
    "claim",
    "owner",
    "heartbeat_at",
    "created_at",
    "expires_at",
    "reply",
)
_NAME = "tenant = :tenant AND subject = :subject AND route = :route AND key = :key"

# A key is free when its time is over, or when the process that makes its call was not heard of for too long.
_CLAIM = Statement(
    f"""
    {insert_into("llm_idempotency", _COLUMNS)}
    ON CONFLICT (tenant, subject, route, key) DO UPDATE SET
        request_hash = excluded.request_hash, claim = excluded.claim, owner = excluded.owner,
        heartbeat_at = excluded.heartbeat_at, reply = excluded.reply,
        created_at = excluded.created_at, expires_at = excluded.expires_at
    WHERE llm_idempotency.expires_at <= :created_at
        OR (llm_idempotency.owner IS NOT NULL AND llm_idempotency.heartbeat_at <= :silent_since)
    RETURNING claim
    """
)
_FIND = Statement(f"SELECT request_hash, claim, owner, reply FROM llm_idempotency WHERE {_NAME}")
_STATE = Statement(f"SELECT owner, heartbeat_at FROM llm_idempotency WHERE {_NAME} AND claim = :claim")
_FINISH = Statement(
    "UPDATE llm_idempotency SET owner = NULL, reply = :reply"
    f" WHERE {_NAME} AND claim = :claim AND owner IS NOT NULL RETURNING claim"
)
_FREE = Statement(f"DELETE FROM llm_idempotency WHERE {_NAME} AND claim = :claim AND owner IS NOT NULL")
_HEARTBEAT = Statement(
    f"UPDATE llm_idempotency SET heartbeat_at = :now WHERE owner = :owner AND {any_of('claim', 'claims')}"
)
_FREE_OTHERS = Statement("DELETE FROM llm_idempotency WHERE owner IS NOT NULL AND owner <> :owner")
_EXPIRE = Statement(
    """
    DELETE FROM llm_idempotency WHERE (tenant, subject, route, key) IN (
        SELECT tenant, subject, route, key FROM llm_idempotency
        WHERE expires_at <= :now ORDER BY expires_at LIMIT :at_most
    ) RETURNING claim
    """
)


class IdempotencyRepository:
    """Reads and writes keys, for the process that is their ``owner``. Times are epoch milliseconds."""

    def __init__(self, database: Database, owner: str) -> None:
        self._database = database
        self._owner = owner

    async def claim(
        self,
        name: CallName,
        request_hash: str,
        claim: str,
        now: int,
        *,
        silent_since: int,
        expires_at: int,
    ) -> KeyRow | None:
        """Take a key that is free; the row of one that is not, and None when it is this claim's now."""
        params = {
            **_name(name),
            "request_hash": request_hash,
            "claim": claim,
            "owner": self._owner,
            "heartbeat_at": now,
            "reply": None,
            "created_at": now,
            "expires_at": expires_at,
            "silent_since": silent_since,
        }
        taken, found = await self._database.write(Write(_CLAIM, params), Write(_FIND, params))
        if taken:
            return None
        (row,) = found
        return KeyRow(row["request_hash"], row["claim"], row["owner"] is None, row["reply"])

    async def is_running(self, name: CallName, claim: str, *, silent_since: int) -> bool:
        """Whether a claim still has its key, and its owner was heard of since."""
        row = await self._database.fetch_one(_STATE, {**_name(name), "claim": claim})
        return row is not None and row["owner"] is not None and row["heartbeat_at"] > silent_since

    async def finish(self, name: CallName, claim: str, reply: str | None) -> bool:
        """Write what a claim's call got; whether the key was still its."""
        (written,) = await self._database.write(
            Write(_FINISH, {**_name(name), "claim": claim, "reply": reply})
        )
        return bool(written)

    async def free(self, name: CallName, claim: str) -> None:
        """Give a key back, unless it is another's."""
        await self._database.write(Write(_FREE, {**_name(name), "claim": claim}))

    async def heartbeat(self, claims: list[str], now: int) -> None:
        """Say that this process makes the calls of these claims."""
        await self._database.write(Write(_HEARTBEAT, {"owner": self._owner, "claims": claims, "now": now}))

    async def free_others(self) -> None:
        """Give back the keys of all other processes, which are dead."""
        await self._database.write(Write(_FREE_OTHERS, {"owner": self._owner}))

    async def expire(self, now: int, at_most: int) -> int:
        """Delete some of what has expired; how many keys."""
        (deleted,) = await self._database.write(Write(_EXPIRE, {"now": now, "at_most": at_most}))
        return len(deleted)


def _name(name: CallName) -> dict[str, Any]:
    return {"tenant": name.tenant, "subject": name.subject, "route": name.route, "key": name.key}
