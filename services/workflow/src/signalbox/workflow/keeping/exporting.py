"""Exports: everything that is kept of a session, or of a user, as one JSON document that is written page by page."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, Protocol

import orjson

from signalbox.common.ids import now_ms
from signalbox.contracts.identity import Principal
from signalbox.contracts.keeping import KeptData, KeptDataRequest
from signalbox.workflow.keeping.ports import KeptTurns
from signalbox.workflow.records import Session, TurnRecord

_PAGE = 100
_MAX_TASKS = 1_000
_DAY_MS = 86_400_000
_INTERNAL = frozenset({"tenant", "session_id", "owner", "heartbeat_at"})


class DataKeeper(Protocol):
    """A service that keeps something of sessions; its client."""

    async def kept(self, request: KeptDataRequest, principal: Principal) -> KeptData:
        """What it keeps, a page of it. Raises SignalboxError."""
        ...


class Exporter:
    """Writes exports. ``keepers`` are the other services, by the name of what they keep.

    All of them are asked before the first byte is given, so that one that is away is told as an error, not as a
    document that breaks off.
    """

    def __init__(self, kept: KeptTurns, keepers: dict[str, DataKeeper]) -> None:
        self._kept = kept
        self._keepers = keepers

    async def session(self, session: Session) -> AsyncGenerator[bytes, None]:
        """One session: ``{exported_at, session, turns, tasks, ...}``, each list as long as it is."""
        first = await self._first_pages(session.tenant, _of(session))
        yield b'{"exported_at":%d,' % now_ms()
        async for chunk in self._members(session, first):
            yield chunk
        yield b"}"

    async def user(self, tenant: str, user_id: str) -> AsyncGenerator[bytes, None]:
        """All sessions of a user, and what names the user elsewhere: ``{exported_at, user_id, sessions, ...}``."""
        asked = KeptDataRequest(user_id=user_id)
        first = await self._first_pages(tenant, asked)
        yield b'{"exported_at":%d,"user_id":%s,"sessions":[' % (now_ms(), orjson.dumps(user_id))
        after, comma = "", b""
        while page := await self._kept.sessions_of(tenant, user_id, after, _PAGE):
            for session in page:
                pages = await self._first_pages(tenant, _of(session))
                yield comma + b"{"
                async for chunk in self._members(session, pages):
                    yield chunk
                yield b"}"
                comma = b","
            after = page[-1].session_id
        schedules = [_task(row) for row in await self._kept.schedules_of(tenant, user_id)]
        yield b'],"schedules":' + orjson.dumps(schedules)
        async for chunk in self._elsewhere(tenant, asked, first):
            yield chunk
        yield b"}"

    async def _first_pages(self, tenant: str, asked: KeptDataRequest) -> dict[str, KeptData]:
        """The first page of each keeper, asked at once. Raises SignalboxError where one of them does not answer."""
        asking = Principal(tenant=tenant, subject="export")
        pages = await asyncio.gather(*(keeper.kept(asked, asking) for keeper in self._keepers.values()))
        return dict(zip(self._keepers, pages, strict=True))

    async def _members(self, session: Session, first: dict[str, KeptData]) -> AsyncGenerator[bytes, None]:
        yield b'"session":' + orjson.dumps(await self._described(session)) + b',"turns":['
        after, comma = (0, ""), b""
        while turns := await self._kept.turns(session, after, _PAGE):
            yield comma + b",".join(orjson.dumps(_turn(turn)) for turn in turns)
            after, comma = (turns[-1].first_message, turns[-1].turn_id), b","
        tasks = [_task(row) for row in await self._kept.tasks(session, _MAX_TASKS)]
        yield b'],"tasks":' + orjson.dumps(tasks)
        async for chunk in self._elsewhere(session.tenant, _of(session), first):
            yield chunk

    async def _elsewhere(
        self, tenant: str, asked: KeptDataRequest, first: dict[str, KeptData]
    ) -> AsyncGenerator[bytes, None]:
        asking = Principal(tenant=tenant, subject="export")
        for name, keeper in self._keepers.items():
            yield b"," + orjson.dumps(name) + b":["
            page, comma = first[name], b""
            while True:
                if page.items:
                    yield comma + b",".join(orjson.dumps(item) for item in page.items)
                    comma = b","
                if page.next_after is None:
                    break
                further = asked.model_copy(update={"after": page.next_after})
                page = await keeper.kept(further, asking)
            yield b"]"

    async def _described(self, session: Session) -> dict[str, Any]:
        return {
            "session_id": session.session_id,
            "agent_id": session.workflow_id,
            "user_id": session.user_id,
            "status": session.status,
            "message_count": session.message_count,
            "created_at": session.created_at,
            "updated_at": session.updated_at,
            "expires_at": session.expires_at,
            "state": session.state.model_dump(mode="json", exclude_defaults=True),
            "summary": await self._kept.summary(session),
        }


def _of(session: Session) -> KeptDataRequest:
    """What is asked of other services for a session."""
    return KeptDataRequest(
        session_ids=[session.session_id],
        since=session.created_at,
        until=session.updated_at + _DAY_MS,
    )


def _turn(turn: TurnRecord) -> dict[str, Any]:
    fields = {name: getattr(turn, name) for name in TurnRecord.__dataclass_fields__ if name not in _INTERNAL}
    return {**fields, "reply": _parsed(turn.reply), "events": _parsed(turn.events)}


def _task(row: dict[str, object]) -> dict[str, Any]:
    return {**row, **{name: _parsed(row[name]) for name in ("request", "result") if name in row}}


def _parsed(stored: Any) -> Any:
    """What is stored as JSON; kept as text where it is none."""
    if not isinstance(stored, str):
        return None
    try:
        return orjson.loads(stored)
    except orjson.JSONDecodeError:
        return stored
