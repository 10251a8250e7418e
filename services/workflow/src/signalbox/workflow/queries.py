"""Answering queries: idempotency around the turn, and the turn's log for those who follow it."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from contextlib import suppress
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import orjson

from signalbox.common.cache import Cache, StoredValue, key
from signalbox.common.context import current_deadline
from signalbox.common.errors import Unavailable
from signalbox.common.ids import new_id, now_ms
from signalbox.common.record import record
from signalbox.contracts.events import StartData, StartEvent, TurnEvent
from signalbox.contracts.identity import Principal
from signalbox.contracts.query import QueryReply, QueryRequest
from signalbox.workflow.errors import EventsGone, IdempotencyInProgress, IdempotencyKeyReused, UnknownTimezone
from signalbox.workflow.ports import IdempotencyStore
from signalbox.workflow.records import IdempotencyKey, IdempotencyRecord
from signalbox.workflow.running import RunningTurns, TurnStop
from signalbox.workflow.settings import WorkflowSettings
from signalbox.workflow.turn import TurnRunner
from signalbox.workflow.turn_log import LAST_EVENTS, TurnLog, log_name, parse_event
from signalbox.workflow.turn_state import TurnInput

_ROUTE = "query"
_FOLLOW_WAIT_MS = 5_000


@record
class StartedTurn:
    """A turn that runs, and the log to follow it by."""

    turn_id: str
    log: TurnLog
    task: "asyncio.Task[QueryReply]"


@record
class LoggedTurn:
    """A streamed turn as its log tells of it."""

    subject: str
    user_id: str | None
    start: StartData
    last: TurnEvent


class QueryService:
    """Answers messages, whole or streamed."""

    def __init__(
        self,
        runner: TurnRunner,
        running: RunningTurns,
        idempotency: IdempotencyStore,
        cache: Cache,
        settings: WorkflowSettings,
    ) -> None:
        self._runner = runner
        self._running = running
        self._idempotency = idempotency
        self._values = cache.values
        self._logs = cache.logs
        self._settings = settings

    async def answer(
        self, principal: Principal, request: QueryRequest, idempotency_key: str | None
    ) -> QueryReply:
        """The reply to a message; for a repeated key with the same body, the stored one.

        Raises:
            SignalboxError: nothing was committed.
        """
        _check_timezone(request)
        if idempotency_key is None:
            turn_id = new_id("turn")
            log = TurnLog(principal.tenant, turn_id)
            return await asyncio.shield(self._begin(principal, request, turn_id, log, None).task)
        name = IdempotencyKey(principal.tenant, principal.subject, _ROUTE, idempotency_key)
        claim = await self._claim(name, request)
        if isinstance(claim, QueryReply):
            return claim
        log = TurnLog(principal.tenant, claim)
        return await asyncio.shield(self._begin(principal, request, claim, log, name).task)

    async def stream(
        self, principal: Principal, request: QueryRequest, idempotency_key: str | None
    ) -> StartedTurn | QueryReply:
        """A turn that runs, to be followed; for a repeated key the stored reply.

        Raises:
            SignalboxError: the turn was not started.
        """
        _check_timezone(request)
        name: IdempotencyKey | None = None
        turn_id = new_id("turn")
        if idempotency_key is not None:
            name = IdempotencyKey(principal.tenant, principal.subject, _ROUTE, idempotency_key)
            claim = await self._claim(name, request)
            if isinstance(claim, QueryReply):
                return claim
            turn_id = claim
        await self._note_owner(TurnInput(principal, request, turn_id))
        log = TurnLog(
            principal.tenant,
            turn_id,
            self._logs,
            ttl_ms=self._settings.event_log_ms,
            merge_ms=self._settings.text_merge_ms,
        )
        return self._begin(principal, request, turn_id, log, name)

    async def resume(
        self, tenant: str, turn_id: str, after: int
    ) -> AsyncGenerator[tuple[int, bytes] | None, None]:
        """The events of a turn above a number, from any replica; None now and then while there are none.

        Raises:
            EventsGone: the log has expired, or what comes next in it.
        """
        name = log_name(tenant, turn_id)
        last = after
        while True:
            bounds = await self._logs.bounds(name)
            if bounds is None or bounds[0] > last + 1:
                raise EventsGone(turn_id)
            events = await self._logs.read(name, last, _FOLLOW_WAIT_MS)
            for number, raw in events:
                yield number, raw
                last = number
                if parse_event(raw).type in LAST_EVENTS:
                    return
            if not events:
                if last >= bounds[1] and await self._ended(name, bounds[1]):
                    return
                yield None

    async def check_resumable(self, tenant: str, turn_id: str, after: int) -> None:
        """Raise EventsGone unless the log still has what comes after a number."""
        bounds = await self._logs.bounds(log_name(tenant, turn_id))
        if bounds is None or bounds[0] > after + 1:
            raise EventsGone(turn_id)

    def client_left(self, tenant: str, started: StartedTurn) -> None:
        """The client of a stream has gone: the workflow's policy says whether its turn goes on."""
        if started.log.cancel_when_left:
            self._running.cancel(tenant, started.turn_id)

    async def logged(self, tenant: str, turn_id: str) -> LoggedTurn | None:
        """What the shared log tells of a streamed turn; None when it has not begun, or the log is gone."""
        events = await self._logs.read(log_name(tenant, turn_id), 0)
        owner = await self._values.get(_owner_key(tenant, turn_id))
        if owner is None or not events or events[0][0] != 1:
            return None
        first, last = parse_event(events[0][1]), parse_event(events[-1][1])
        if not isinstance(first, StartEvent):
            return None
        subject, user_id = orjson.loads(owner)
        return LoggedTurn(subject, user_id, first.data, last)

    async def _note_owner(self, given: TurnInput) -> None:
        """Leave, for all replicas, whose turn this is: it has no row before it commits, maybe not even a session."""
        keep_ms = int(current_deadline().remaining() * 1000) + self._settings.event_log_ms
        name = _owner_key(given.principal.tenant, given.turn_id)
        owner = orjson.dumps([given.principal.subject, given.user_id])
        with suppress(Unavailable):
            await self._values.put(StoredValue(name, owner, keep_ms))

    async def _ended(self, name: str, last: int) -> bool:
        events = await self._logs.read(name, last - 1)
        return bool(events) and parse_event(events[-1][1]).type in LAST_EVENTS

    def _begin(
        self,
        principal: Principal,
        request: QueryRequest,
        turn_id: str,
        log: TurnLog,
        name: IdempotencyKey | None,
    ) -> StartedTurn:
        given = TurnInput(principal, request, turn_id, name)

        async def run(stop: TurnStop) -> QueryReply:
            try:
                return await self._runner.run(given, log, stop)
            except BaseException:
                if name is not None:
                    with suppress(Unavailable):
                        await asyncio.shield(self._idempotency.forget(name, turn_id))
                raise

        return StartedTurn(turn_id, log, self._running.start(principal.tenant, turn_id, log, run))

    async def _claim(self, name: IdempotencyKey, request: QueryRequest) -> str | QueryReply:
        """The id of the turn to run, or the reply that a turn with this key was given.

        Raises:
            IdempotencyKeyReused: the key came with another body.
            IdempotencyInProgress: the first request is still being answered.
        """
        digest = hashlib.sha256(request.model_dump_json().encode()).hexdigest()
        turn_id = new_id("turn")
        deadline = current_deadline()
        while True:
            now = now_ms()
            wanted = IdempotencyRecord(
                name, digest, turn_id, None, now + int(deadline.remaining() * 1000) + 1_000
            )
            held = await self._idempotency.claim(wanted, now)
            if held.request_hash != digest:
                raise IdempotencyKeyReused
            if held.reply is not None:
                return QueryReply.model_validate_json(held.reply)
            if held.target_id == turn_id:
                return turn_id
            if deadline.remaining() <= 0:
                raise IdempotencyInProgress
            await asyncio.sleep(0.05)


def _check_timezone(request: QueryRequest) -> None:
    if request.timezone is None:
        return
    try:
        ZoneInfo(request.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UnknownTimezone(request.timezone) from error


def _owner_key(tenant: str, turn_id: str) -> str:
    return key("turn-owner", tenant, turn_id)
