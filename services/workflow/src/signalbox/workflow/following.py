"""The shared logs of streamed turns: whose they are, following one from any replica, seeing that its turn died."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress

import orjson

from signalbox.common.cache import Cache, StoredValue, key
from signalbox.common.context import current_deadline
from signalbox.common.errors import Unavailable
from signalbox.common.record import record
from signalbox.contracts.events import CompleteEvent, StartData, StartEvent, TurnEvent
from signalbox.contracts.query import QueryReply
from signalbox.workflow.errors import EventsGone, TurnLost
from signalbox.workflow.ports import SessionStore
from signalbox.workflow.settings import WorkflowSettings
from signalbox.workflow.turn_log import LAST_EVENTS, TurnLog, log_name, parse_event
from signalbox.workflow.turn_state import TurnInput

_LOOK_AGAIN_MS = 2_500
_MISSES = 2
"""Looks in a row that find no sign of life before a turn counts as dead: a cache that was emptied is one."""


@record
class LoggedTurn:
    """A streamed turn as its log tells of it."""

    subject: str
    user_id: str | None
    start: StartData
    last: TurnEvent


class SharedEvents:
    """The events of streamed turns, for every replica, for a short time."""

    def __init__(self, cache: Cache, store: SessionStore, settings: WorkflowSettings) -> None:
        self._values = cache.values
        self._logs = cache.logs
        self._store = store
        self._settings = settings
        self.ending = asyncio.Event()
        """Set when this process ends: who follows a turn of another replica is to follow it elsewhere."""

    async def open(self, given: TurnInput) -> TurnLog:
        """A log that others can follow.

        Whose turn it is is left for all replicas: it has no row before it commits, maybe not even a session.
        """
        tenant, turn_id = given.principal.tenant, given.turn_id
        keep_ms = int(current_deadline().remaining() * 1000) + self._settings.event_log_ms
        owner = orjson.dumps([given.principal.subject, given.user_id])
        with suppress(Unavailable):
            await self._values.put(
                StoredValue(owner_key(tenant, turn_id), owner, keep_ms), self._life(tenant, turn_id)
            )
            if given.again:
                # The events of the attempt that died are not those of this one.
                await self._logs.delete(log_name(tenant, turn_id))
        return TurnLog(
            tenant,
            turn_id,
            self._logs,
            ttl_ms=self._settings.event_log_ms,
            merge_ms=self._settings.text_merge_ms,
        )

    async def beat(self, tenant: str, turn_id: str) -> None:
        """Say that a turn that runs here is alive."""
        with suppress(Unavailable):
            await self._values.put(self._life(tenant, turn_id))

    async def resume(
        self, tenant: str, turn_id: str, after: int
    ) -> AsyncGenerator[tuple[int, bytes] | None, None]:
        """The events of a turn above a number, from any replica; None now and then while there are none.

        Raises:
            EventsGone: the log has expired, or what comes next in it.
            TurnLost: the process that ran the turn has died; nothing was committed.
        """
        name, last, misses = log_name(tenant, turn_id), after, 0
        while True:
            bounds = await self._bounds(name, turn_id, last)
            events = await self._logs.read(name, last, _LOOK_AGAIN_MS)
            for number, raw in events:
                yield number, raw
                last = number
                if parse_event(raw).type in LAST_EVENTS:
                    return
            if events:
                misses = 0
                continue
            if last >= bounds[1] and await self._ended(name, bounds[1]):
                return
            alive = await self._values.get(_life_key(tenant, turn_id)) is not None
            misses = 0 if alive else misses + 1
            if misses == _MISSES:
                yield last + 1, await self._last_words(tenant, turn_id)
                return
            yield None

    async def check_resumable(self, tenant: str, turn_id: str, after: int) -> None:
        """Raise EventsGone unless the log still has what comes after a number."""
        await self._bounds(log_name(tenant, turn_id), turn_id, after)

    async def logged(self, tenant: str, turn_id: str) -> LoggedTurn | None:
        """What the shared log tells of a streamed turn; None when it has not begun, or the log is gone."""
        events = await self._logs.read(log_name(tenant, turn_id), 0)
        owner = await self._values.get(owner_key(tenant, turn_id))
        if owner is None or not events or events[0][0] != 1:
            return None
        first, last = parse_event(events[0][1]), parse_event(events[-1][1])
        if not isinstance(first, StartEvent):
            return None
        subject, user_id = orjson.loads(owner)
        return LoggedTurn(subject, user_id, first.data, last)

    async def _bounds(self, name: str, turn_id: str, after: int) -> tuple[int, int]:
        bounds = await self._logs.bounds(name)
        if bounds is None or bounds[0] > after + 1:
            raise EventsGone(turn_id, bounds[0] if bounds else None)
        return bounds

    async def _ended(self, name: str, last: int) -> bool:
        events = await self._logs.read(name, last - 1)
        return bool(events) and parse_event(events[-1][1]).type in LAST_EVENTS

    async def _last_words(self, tenant: str, turn_id: str) -> bytes:
        """The last event of a turn whose process could not send it: it may have died after the commit."""
        turn = await self._store.turn(tenant, turn_id)
        if turn is None or turn.reply is None:
            raise TurnLost(turn_id)
        complete = CompleteEvent(data=QueryReply.model_validate_json(turn.reply))
        return complete.model_dump_json(exclude_none=True).encode()

    def _life(self, tenant: str, turn_id: str) -> StoredValue:
        return StoredValue(_life_key(tenant, turn_id), b"1", self._settings.lease_ttl_ms)


def owner_key(tenant: str, turn_id: str) -> str:
    """Where it says, in the cache, whose a turn is."""
    return key("turn-owner", tenant, turn_id)


def _life_key(tenant: str, turn_id: str) -> str:
    return key("turn-life", tenant, turn_id)
