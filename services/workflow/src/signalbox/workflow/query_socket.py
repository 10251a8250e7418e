"""``/api/v1/query/ws``: messages in, numbered events out, any number of turns one after another or side by side."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress

from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter, ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from signalbox.common.context import Deadline, RequestContext, enter_request
from signalbox.common.errors import BadRequest, Conflict, SignalboxError
from signalbox.common.ids import label_id
from signalbox.common.web.problems import problem_of, validation_problem
from signalbox.contracts.base import WireModel
from signalbox.contracts.events import CompleteEvent, ErrorEvent
from signalbox.contracts.identity import Principal
from signalbox.contracts.query import QueryReply
from signalbox.contracts.socket import (
    ClientMessage,
    SocketCancel,
    SocketEvent,
    SocketPing,
    SocketPong,
    SocketProblem,
    SocketQuery,
    SocketReconnect,
    SocketResume,
)
from signalbox.workflow.following import SharedEvents
from signalbox.workflow.queries import QueryService
from signalbox.workflow.settings import WorkflowSettings
from signalbox.workflow.turn_log import parse_event
from signalbox.workflow.views import SessionViews

_MESSAGE: TypeAdapter[ClientMessage] = TypeAdapter(ClientMessage)
_MOST_AT_ONCE = 32
_GOING_AWAY = 1012
"""Service restart (IANA's registry of WebSocket close codes)."""
_POLICY = 1008

Events = AsyncGenerator[tuple[int, bytes] | None, None]


class TooManyAtOnce(Conflict):
    """The connection has as many turns at once as one may have."""

    code = "too_many_at_once"

    def __init__(self) -> None:
        super().__init__(f"A connection follows {_MOST_AT_ONCE} turns at once; wait until one has ended.")


class QuerySockets:
    """Serves connections."""

    def __init__(
        self, queries: QueryService, events: SharedEvents, views: SessionViews, settings: WorkflowSettings
    ) -> None:
        self.queries = queries
        self.events = events
        self.views = views
        self.timeout_ms = settings.stream_timeout_ms

    async def serve(self, websocket: WebSocket, principal: Callable[[], Principal]) -> None:
        """Serve one connection until either side closes it, or the process ends."""
        await _Connection(self, websocket, principal).run()


class _Connection:
    def __init__(
        self, service: QuerySockets, websocket: WebSocket, principal: Callable[[], Principal]
    ) -> None:
        self._service = service
        self._websocket = websocket
        self._principal = principal
        self._own: set[asyncio.Task[None]] = set()
        """Turns that run here: they end by themselves, or are stopped, before the process does."""
        self._resumed: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Read until the end; then let the turns end too, or tell the client where to go on."""
        reading = asyncio.create_task(self._read())
        ending = asyncio.create_task(self._service.events.ending.wait())
        try:
            await asyncio.wait((reading, ending), return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                reading.cancel()
                _cancel(self._resumed)
                await asyncio.gather(reading, *self._own, *self._resumed, return_exceptions=True)
                with suppress(WebSocketDisconnect):
                    await self._send(SocketReconnect())
                    await self._websocket.close(_GOING_AWAY)
        finally:
            left = (reading, ending, *self._own, *self._resumed)
            _cancel(left)
            await asyncio.gather(*left, return_exceptions=True)

    async def _read(self) -> None:
        with suppress(WebSocketDisconnect):
            while True:
                message = await self._websocket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                await self._take(message.get("text"))

    async def _take(self, text: str | None) -> None:
        # Deadline and request id are those of the message, not of the connection.
        enter_request(RequestContext(label_id("req"), Deadline.after(self._service.timeout_ms / 1000)))
        ref = ""
        try:
            message = _parsed(text)
            ref = message.ref
            principal = self._principal()
            if isinstance(message, SocketPing):
                await self._send(SocketPong(ref=ref))
            elif isinstance(message, SocketCancel):
                await self._service.views.cancel(principal, message.turn_id, message.user_id)
            elif len(self._own) + len(self._resumed) >= _MOST_AT_ONCE:
                raise TooManyAtOnce
            elif isinstance(message, SocketQuery):
                self._start(self._own, ref, self._answer(principal, message))
            else:
                self._start(self._resumed, ref, self._resume(principal, message))
        except SignalboxError as error:
            await self._send(SocketProblem(ref=ref, problem=problem_of(error)))
            if error.status == 401:
                await self._websocket.close(_POLICY)

    def _start(self, among: set[asyncio.Task[None]], ref: str, work: "_Work") -> None:
        task = asyncio.create_task(self._told(ref, work))
        among.add(task)
        task.add_done_callback(among.discard)

    async def _told(self, ref: str, work: "_Work") -> None:
        """Send what comes of the work; what refuses it is told too."""
        try:
            async with aclosing(work) as events:
                async for event in events:
                    await self._send(event.model_copy(update={"ref": ref}))
        except SignalboxError as error:
            with suppress(WebSocketDisconnect):
                await self._send(SocketProblem(ref=ref, problem=problem_of(error)))
        except WebSocketDisconnect:
            return

    async def _answer(self, principal: Principal, message: SocketQuery) -> "_Work":
        if message.timeout_ms is not None:
            seconds = message.timeout_ms / 1000
            enter_request(RequestContext(label_id("req"), Deadline.after(seconds)))
        queries = self._service.queries
        started = await queries.stream(principal, message.query, message.idempotency_key)
        if isinstance(started, QueryReply):
            yield SocketEvent(ref="", turn_id=started.turn_id, id=1, event=CompleteEvent(data=started))
            return
        async with aclosing(queries.follow(principal.tenant, started)) as events:
            async for number, raw in events:
                yield _event(started.turn_id, number, raw)

    async def _resume(self, principal: Principal, message: SocketResume) -> "_Work":
        turn_id = message.turn_id
        await self._service.views.turn(principal, turn_id, message.user_id)
        last = message.after
        rest = self._service.events.resume(principal.tenant, turn_id, message.after)
        try:
            async with aclosing(rest) as events:
                async for item in events:
                    if item is not None:
                        last = item[0]
                        yield _event(turn_id, *item)
        except SignalboxError as error:
            if last == message.after:
                raise
            yield SocketEvent(ref="", turn_id=turn_id, id=last + 1, event=ErrorEvent(data=problem_of(error)))

    async def _send(self, message: WireModel) -> None:
        """Waits while the client does not read what was sent before."""
        await self._websocket.send_text(message.model_dump_json(exclude_none=True))


_Work = AsyncGenerator[SocketEvent, None]


def _event(turn_id: str, number: int, raw: bytes) -> SocketEvent:
    return SocketEvent(ref="", turn_id=turn_id, id=number, event=parse_event(raw))


def _parsed(text: str | None) -> ClientMessage:
    if text is None:
        raise BadRequest("Messages are JSON in text frames, not binary ones.")
    try:
        return _MESSAGE.validate_json(text)
    except ValidationError as error:
        found = [{**item, "loc": ("body", *item["loc"])} for item in error.errors(include_url=False)]
        raise validation_problem(RequestValidationError(found)) from None


def _cancel(tasks: "set[asyncio.Task[None]] | tuple[asyncio.Task[object], ...]") -> None:
    for task in list(tasks):
        task.cancel()
