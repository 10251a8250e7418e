"""The SQL of responses."""

from typing import Any

from signalbox.common.storage import (
    Database,
    PreconditionFailed,
    Statement,
    Write,
    any_of,
    columns_of,
    insert_into,
    listed,
)
from signalbox.llm_gateway.responses.records import EventBatch, ResponseKey, StoredResponse

_COLUMNS = columns_of(StoredResponse)
_EVENT_COLUMNS = ("tenant", "response_id", "first_number", "last_number", "events")
_OWN = "tenant = :tenant AND subject = :subject AND response_id = :response_id"

# A call that is replayed has the response that it had.
_INSERT = Statement(f"{insert_into('llm_responses', _COLUMNS)} ON CONFLICT (tenant, response_id) DO NOTHING")
_INSERT_EVENTS = Statement(insert_into("llm_response_events", _EVENT_COLUMNS))
_FIND = Statement(f"SELECT {listed(_COLUMNS)} FROM llm_responses WHERE {_OWN} AND expires_at > :now")
_STATE = Statement(f"SELECT status, owner FROM llm_responses WHERE {_OWN} AND expires_at > :now")
_CONVERSATION = Statement(
    f"""
    WITH RECURSIVE chain AS (
        SELECT {listed(_COLUMNS)}, CAST(1 AS bigint) AS place,
            CAST(length(input) + length(response) AS bigint) AS size
        FROM llm_responses WHERE {_OWN} AND expires_at > :now
        UNION ALL
        SELECT {listed(_COLUMNS, "r")}, chain.place + 1, chain.size + length(r.input) + length(r.response)
        FROM chain JOIN llm_responses r
            ON r.tenant = chain.tenant AND r.response_id = chain.previous_response_id
            AND r.subject = chain.subject AND r.expires_at > :now
        WHERE chain.place < :max_responses AND chain.size < :max_size
    )
    SELECT {listed(_COLUMNS)} FROM chain ORDER BY place DESC
    """
)
_PROGRESS = Statement(
    "UPDATE llm_responses SET status = 'in_progress', heartbeat_at = :now"
    " WHERE tenant = :tenant AND response_id = :response_id AND owner = :owner"
)
_FINISH = Statement(
    "UPDATE llm_responses SET status = :status, response = :response, owner = NULL, heartbeat_at = :now"
    " WHERE tenant = :tenant AND response_id = :response_id AND owner = :owner"
)
_ABANDON = Statement(f"{_FINISH.sql} AND heartbeat_at = :seen")
_CANCEL = Statement(
    "UPDATE llm_responses SET status = 'cancelled', owner = NULL, heartbeat_at = :now"
    f" WHERE {_OWN} AND owner IS NOT NULL AND expires_at > :now"
)
_EVENTS = Statement(
    "SELECT first_number, last_number, events FROM llm_response_events"
    " WHERE tenant = :tenant AND response_id = :response_id AND last_number > :after ORDER BY first_number"
)
_OWNED = Statement("SELECT response_id FROM llm_responses WHERE owner = :owner")
_HEARTBEAT = Statement(
    "UPDATE llm_responses SET heartbeat_at = :now"
    f" WHERE owner = :owner AND {any_of('response_id', 'response_ids')}"
)
_STALE = Statement(
    f"SELECT {listed(_COLUMNS)} FROM llm_responses"
    " WHERE owner IS NOT NULL AND heartbeat_at <= :before ORDER BY heartbeat_at LIMIT :at_most"
)
_DELETE = Statement(f"DELETE FROM llm_responses WHERE {_OWN} AND expires_at > :now")
_DELETE_EVENTS = Statement(
    "DELETE FROM llm_response_events WHERE tenant = :tenant AND response_id = :response_id"
)
_OLDEST_EXPIRED = (
    "SELECT tenant, response_id FROM llm_responses WHERE expires_at <= :now"
    " ORDER BY expires_at, tenant, response_id LIMIT :at_most"
)
_EXPIRE_EVENTS = Statement(
    f"DELETE FROM llm_response_events WHERE (tenant, response_id) IN ({_OLDEST_EXPIRED})"
)
_EXPIRE = Statement(
    f"DELETE FROM llm_responses WHERE (tenant, response_id) IN ({_OLDEST_EXPIRED}) RETURNING response_id"
)


class ResponseRepository:
    """Reads and writes responses. Times are epoch milliseconds; what has expired is not there."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, stored: StoredResponse, batch: EventBatch | None = None) -> None:
        """Keep a response, with its first events when it has a log; one that is there already stays as it is."""
        writes = [Write(_INSERT, _row(stored))]
        if batch is not None:
            writes.append(_batch(stored.tenant, stored.response_id, batch))
        await self._database.write(*writes)

    async def find(self, key: ResponseKey, now: int) -> StoredResponse | None:
        """A response."""
        row = await self._database.fetch_one(_FIND, {**_key(key), "now": now})
        return None if row is None else StoredResponse(**row)

    async def state(self, key: ResponseKey, now: int) -> tuple[str, bool] | None:
        """The status of a response, and whether it is over."""
        row = await self._database.fetch_one(_STATE, {**_key(key), "now": now})
        return None if row is None else (row["status"], row["owner"] is None)

    async def conversation(
        self, key: ResponseKey, now: int, *, max_responses: int, max_size: int
    ) -> list[StoredResponse]:
        """A response and those before it, oldest first, at most ``max_responses``.

        None is added once they have ``max_size`` characters. The conversation is whole when the first one has no
        ``previous_response_id``.
        """
        params = {**_key(key), "now": now, "max_responses": max_responses, "max_size": max_size}
        return [StoredResponse(**row) for row in await self._database.fetch_all(_CONVERSATION, params)]

    async def progress(self, stored: StoredResponse, now: int, batch: EventBatch) -> bool:
        """Append events to the log of a response; whether its owner is still the one that ``stored`` names."""
        params = {**_owned(stored), "now": now}
        return await self._written(
            Write(_PROGRESS, params, expect=1), _batch(stored.tenant, stored.response_id, batch)
        )

    async def finish(
        self, stored: StoredResponse, now: int, status: str, response: str, batch: EventBatch | None = None
    ) -> bool:
        """Write the end of a response; whether its owner is still the one that ``stored`` names."""
        params = {**_owned(stored), "now": now, "status": status, "response": response}
        writes = [Write(_FINISH, params, expect=1)]
        if batch is not None:
            writes.append(_batch(stored.tenant, stored.response_id, batch))
        return await self._written(*writes)

    async def abandon(self, stale: StoredResponse, now: int, response: str) -> bool:
        """Write the end of a response whose owner fell silent; whether it has stayed silent since it was read."""
        params = {**_owned(stale), "now": now, "status": "failed", "response": response}
        return await self._written(Write(_ABANDON, {**params, "seen": stale.heartbeat_at}, expect=1))

    async def cancel(self, key: ResponseKey, now: int) -> bool:
        """End a response that is not over; whether it was not."""
        return await self._written(Write(_CANCEL, {**_key(key), "now": now}, expect=1))

    async def events(self, key: ResponseKey, after: int) -> list[EventBatch]:
        """The batches of the log that have events behind the number ``after``."""
        params = {"tenant": key.tenant, "response_id": key.response_id, "after": after}
        rows = await self._database.fetch_all(_EVENTS, params)
        return [EventBatch(row["first_number"], row["last_number"], row["events"]) for row in rows]

    async def owned(self, owner: str) -> set[str]:
        """The ids of the responses that a process works on."""
        rows = await self._database.fetch_all(_OWNED, {"owner": owner})
        return {row["response_id"] for row in rows}

    async def heartbeat(self, owner: str, response_ids: list[str], now: int) -> None:
        """Say that a process is alive and works on these."""
        params = {"owner": owner, "response_ids": response_ids, "now": now}
        await self._database.write(Write(_HEARTBEAT, params))

    async def stale(self, before: int, at_most: int) -> list[StoredResponse]:
        """Responses whose owner was last heard of at ``before`` or earlier."""
        rows = await self._database.fetch_all(_STALE, {"before": before, "at_most": at_most})
        return [StoredResponse(**row) for row in rows]

    async def delete(self, key: ResponseKey, now: int) -> bool:
        """Delete a response and its log; whether it was there."""
        params = {**_key(key), "now": now}
        return await self._written(Write(_DELETE, params, expect=1), Write(_DELETE_EVENTS, params))

    async def expire(self, now: int, at_most: int) -> int:
        """Delete some of what has expired; how many responses."""
        params = {"now": now, "at_most": at_most}
        _, deleted = await self._database.write(Write(_EXPIRE_EVENTS, params), Write(_EXPIRE, params))
        return len(deleted)

    async def _written(self, *writes: Write) -> bool:
        try:
            await self._database.write(*writes)
        except PreconditionFailed:
            return False
        return True


def _row(stored: StoredResponse) -> dict[str, Any]:
    return {name: getattr(stored, name) for name in _COLUMNS}


def _key(key: ResponseKey) -> dict[str, Any]:
    return {"tenant": key.tenant, "subject": key.subject, "response_id": key.response_id}


def _owned(stored: StoredResponse) -> dict[str, Any]:
    return {"tenant": stored.tenant, "response_id": stored.response_id, "owner": stored.owner}


def _batch(tenant: str, response_id: str, batch: EventBatch) -> Write:
    return Write(
        _INSERT_EVENTS,
        {
            "tenant": tenant,
            "response_id": response_id,
            "first_number": batch.first,
            "last_number": batch.last,
            "events": batch.events,
        },
    )
