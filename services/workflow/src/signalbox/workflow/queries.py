"""Answering queries: idempotency around the turn, and the turn's log for those who follow it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from signalbox.common.context import current_deadline
from signalbox.common.errors import DeadlineExceeded
from signalbox.common.ids import new_id
from signalbox.common.record import record
from signalbox.contracts.identity import Principal
from signalbox.contracts.query import QueryReply, QueryRequest
from signalbox.workflow.errors import UnknownTimezone
from signalbox.workflow.following import SharedEvents
from signalbox.workflow.idempotency import Claim, Idempotency
from signalbox.workflow.running import LATE_S, RunningTurns, TurnStop
from signalbox.workflow.settings import WorkflowSettings
from signalbox.workflow.turn import TurnRunner
from signalbox.workflow.turn_log import TurnLog
from signalbox.workflow.turn_state import TurnInput


@record
class StartedTurn:
    """A turn that runs, and the log to follow it by."""

    turn_id: str
    log: TurnLog
    task: "asyncio.Task[QueryReply]"


class QueryService:
    """Answers messages, whole or streamed."""

    def __init__(
        self,
        runner: TurnRunner,
        running: RunningTurns,
        idempotency: Idempotency,
        events: SharedEvents,
        settings: WorkflowSettings,
    ) -> None:
        self._runner = runner
        self._running = running
        self._idempotency = idempotency
        self._events = events
        self._beat_s = settings.lease_renew_ms / 1000

    async def answer(
        self, principal: Principal, request: QueryRequest, idempotency_key: str | None
    ) -> QueryReply:
        """The reply to a message; for a repeated key with the same body, the stored one.

        Raises:
            SignalboxError: nothing was committed.
            DeadlineExceeded: the time is over, and it is not known what became of the turn.
        """
        _check_timezone(request)
        deadline = current_deadline()
        claim = await self._claim(principal, request, idempotency_key)
        if isinstance(claim, QueryReply):
            return claim
        given = _input(principal, request, claim)
        started = self._begin(given, TurnLog(principal.tenant, given.turn_id), claim)
        # The turn outlives a caller that leaves, and what it waits for may be later than the caller's time.
        await asyncio.wait((started.task,), timeout=deadline.remaining() + LATE_S)
        if not started.task.done():
            self._running.cancel(principal.tenant, given.turn_id)
            raise _late(given.turn_id)
        return started.task.result()

    async def stream(
        self, principal: Principal, request: QueryRequest, idempotency_key: str | None
    ) -> StartedTurn | QueryReply:
        """A turn that runs, to be followed; for a repeated key the stored reply.

        Raises:
            SignalboxError: the turn was not started.
        """
        _check_timezone(request)
        claim = await self._claim(principal, request, idempotency_key)
        if isinstance(claim, QueryReply):
            return claim
        given = _input(principal, request, claim)
        return self._begin(given, await self._events.open(given), claim)

    async def follow(self, tenant: str, started: StartedTurn) -> AsyncGenerator[tuple[int, bytes], None]:
        """The events of a turn that was begun here, for its client.

        A client that stops reading before the end has gone: the workflow's policy says whether its turn goes on.
        """
        try:
            async with aclosing(started.log.follow()) as events:
                async for event in events:
                    yield event
        finally:
            if not started.log.closed:
                self.client_left(tenant, started)

    def client_left(self, tenant: str, started: StartedTurn) -> None:
        """The client of a stream has gone: the workflow's policy says whether its turn goes on."""
        if started.log.cancel_when_left:
            self._running.cancel(tenant, started.turn_id)

    async def _claim(
        self, principal: Principal, request: QueryRequest, key: str | None
    ) -> Claim | QueryReply | None:
        if key is None:
            return None
        try:
            async with asyncio.timeout(current_deadline().remaining() + LATE_S):
                return await self._idempotency.claim(principal, request, key)
        except TimeoutError:
            raise _late(None) from None

    def _begin(self, given: TurnInput, log: TurnLog, claim: Claim | None) -> StartedTurn:
        tenant, turn_id = given.principal.tenant, given.turn_id

        async def run(stop: TurnStop) -> QueryReply:
            if claim is None and not log.shared:
                return await self._runner.run(given, log, stop)
            beats = asyncio.create_task(self._beats(given, log, claim))
            try:
                return await self._runner.run(given, log, stop)
            except BaseException:
                if claim is not None:
                    await asyncio.shield(self._idempotency.give_back(claim, may_have_written=stop.may_write))
                raise
            finally:
                beats.cancel()

        return StartedTurn(turn_id, log, self._running.start(tenant, turn_id, log, run))

    async def _beats(self, given: TurnInput, log: TurnLog, claim: Claim | None) -> None:
        """Tell other replicas now and then that the turn is alive: those who follow it, and those who repeat it."""
        while True:
            await asyncio.sleep(self._beat_s)
            if claim is not None:
                await self._idempotency.keep(claim)
            if log.shared:
                await self._events.beat(given.principal.tenant, given.turn_id)


def _input(principal: Principal, request: QueryRequest, claim: Claim | None) -> TurnInput:
    if claim is None:
        return TurnInput(principal, request, new_id("turn"))
    return TurnInput(principal, request, claim.turn_id, claim.name, again=claim.again)


def _late(turn_id: str | None) -> DeadlineExceeded:
    outcome = f"; what became of it is at /api/v1/turn/{turn_id}" if turn_id else ""
    return DeadlineExceeded(
        f"The time that Signalbox-Timeout-Ms gave was over before the turn ended{outcome}."
    )


def _check_timezone(request: QueryRequest) -> None:
    if request.timezone is None:
        return
    try:
        ZoneInfo(request.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UnknownTimezone(request.timezone) from error
