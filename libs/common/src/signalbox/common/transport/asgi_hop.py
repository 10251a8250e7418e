"""`ServiceHop` to an ASGI application in this process: no socket, no HTTP parser, the same semantics.

Every call runs as a task of its own with an empty `contextvars` context, so that nothing but bytes and
headers crosses, as over a wire: a trace continues through `traceparent`, an identity through its token.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from contextvars import Context
from typing import Any, NoReturn
from urllib.parse import unquote

from signalbox.common.transport.errors import HopProtocolError, HopTimeout, HopUnreachable
from signalbox.common.transport.headers import folded
from signalbox.common.transport.lifespan import AsgiApp, Message
from signalbox.common.transport.ports import HopRequest, HopResponse, HopStream
from signalbox.contracts.headers import TIMEOUT_MS

logger = logging.getLogger(__name__)

HIGH_WATER_BYTES = 65_536
"""Unread bytes at which a streaming callee has to wait; asyncio's own mark for a socket."""

CANCEL_GRACE_SECONDS = 5.0
"""How long a caller that gives up waits for the callee's clean-up before it goes on without it."""


class AsgiServiceHop:
    """Calls `app` directly, in the event loop of the caller.

    `service` names it in errors and logs. `state` is the lifespan's (`LifespanManager.state`); each request
    gets a copy of it. Lifespans are not run here: see `lifespans`.
    """

    def __init__(self, app: AsgiApp, *, service: str, state: Mapping[str, Any] | None = None) -> None:
        self._app = app
        self._service = service
        self._state = state
        self._running: set[asyncio.Task[None]] = set()
        self._closed = False

    async def send(self, request: HopRequest) -> HopResponse:
        """One call, answered whole. An exception of the callee is a response of status 500, and is logged.

        Raises `HopTimeout` when the deadline passes and `HopProtocolError` when the answer broke off.
        """
        exchange, task = self._start(request, streamed=False)
        try:
            await exchange.progress()
            if not exchange.complete:
                self._raise_broken(exchange, request)
        finally:
            exchange.deadline.cancel()
            if not exchange.complete:
                await self._stop(exchange, task)
        return HopResponse(exchange.status, exchange.headers, b"".join(exchange.chunks))

    @asynccontextmanager
    async def stream(self, request: HopRequest) -> AsyncIterator[HopStream]:
        """One call whose chunks arrive as the callee sends them; the callee waits when 64 KiB lie unread."""
        exchange, task = self._start(request, streamed=True)

        async def aclose() -> None:
            exchange.deadline.cancel()
            if not exchange.complete:
                await self._stop(exchange, task)

        try:
            while not exchange.started:
                await exchange.progress()
                if exchange.expired and not exchange.started:
                    self._raise_broken(exchange, request)
            yield HopStream(exchange.status, exchange.headers, self._chunks(exchange, request), aclose)
        finally:
            await aclose()

    async def aclose(self) -> None:
        """Let what still runs after its answer (background tasks) finish for a moment, then cancel it."""
        self._closed = True
        if self._running:
            await asyncio.wait(set(self._running), timeout=CANCEL_GRACE_SECONDS)
        for task in set(self._running):
            task.cancel()
        if self._running:
            await asyncio.wait(set(self._running), timeout=CANCEL_GRACE_SECONDS)

    def _start(self, request: HopRequest, *, streamed: bool) -> tuple["_Exchange", asyncio.Task[None]]:
        if self._closed:
            raise HopUnreachable(self._service, f"The {self._service} service has been stopped.")
        loop = asyncio.get_running_loop()
        exchange = _Exchange(loop, request.body, streamed=streamed)
        exchange.deadline = loop.call_later(max(0.0, request.timeout), exchange.expire)
        task = loop.create_task(self._run(exchange, self._scope(request)), context=Context())
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return exchange, task

    async def _run(self, exchange: "_Exchange", scope: Message) -> None:
        """The callee's task. Whatever the application raises ends here."""
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except asyncio.CancelledError:
            if not (exchange.gone or exchange.complete):
                logger.exception("%s cancelled its own request %s", self._service, scope["path"])
        except Exception as error:
            if not (exchange.gone and isinstance(error, OSError)):
                logger.exception("%s raised for %s %s", self._service, scope["method"], scope["path"])
        finally:
            exchange.end()

    async def _stop(self, exchange: "_Exchange", task: asyncio.Task[None]) -> None:
        """Tell the callee that its client has gone, give it one turn to notice, cancel it, await its end."""
        exchange.leave()
        await asyncio.sleep(0)
        task.cancel()
        if not task.done():
            await asyncio.wait({task}, timeout=CANCEL_GRACE_SECONDS)
        if not task.done():
            logger.warning(
                "%s goes on %s s after its request was cancelled", self._service, CANCEL_GRACE_SECONDS
            )

    async def _chunks(self, exchange: "_Exchange", request: HopRequest) -> AsyncIterator[bytes]:
        while True:
            while exchange.chunks:
                yield exchange.take()
            if exchange.complete:
                return
            if exchange.broken or exchange.expired:
                self._raise_broken(exchange, request)
            await exchange.progress()

    def _raise_broken(self, exchange: "_Exchange", request: HopRequest) -> NoReturn:
        what = f"{request.method} {request.path.partition('?')[0]}"
        if exchange.expired:
            raise HopTimeout(
                self._service,
                f"The {self._service} service did not finish {what} within {request.timeout:g} s.",
            )
        raise HopProtocolError(self._service, f"The {self._service} service broke off its answer to {what}.")

    def _scope(self, request: HopRequest) -> Message:
        raw_path, _, query = request.path.partition("?")
        headers = [(name.lower().encode(), value.encode()) for name, value in request.headers.items()]
        headers.append((b"host", self._service.encode()))
        headers.append((TIMEOUT_MS.encode(), str(max(0, int(request.timeout * 1000))).encode()))
        if request.body:
            headers.append((b"content-length", str(len(request.body)).encode()))
        scope: Message = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": "http",
            "path": unquote(raw_path) if "%" in raw_path else raw_path,
            "raw_path": raw_path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": headers,
            "client": None,  # no peer: cancelling the call cancels the callee, and nothing has to watch for it
            "server": (self._service, 80),
        }
        if self._state is not None:
            scope["state"] = dict(self._state)
        return scope


class _Exchange:
    """One request and its answer, between the caller's task and the callee's; both in the same loop."""

    __slots__ = (
        "_body",
        "_body_sent",
        "_drained",
        "_left",
        "_loop",
        "_streamed",
        "_unread",
        "_waiter",
        "broken",
        "chunks",
        "complete",
        "deadline",
        "expired",
        "gone",
        "headers",
        "started",
        "status",
    )

    deadline: asyncio.TimerHandle

    def __init__(self, loop: asyncio.AbstractEventLoop, body: bytes, *, streamed: bool) -> None:
        self._loop = loop
        self._body = body
        self._body_sent = False
        self._streamed = streamed
        self._unread = 0
        self._waiter: asyncio.Future[None] | None = None
        self._left: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.chunks: deque[bytes] = deque()
        self.started = self.complete = self.broken = self.expired = self.gone = False

    async def progress(self) -> None:
        """Caller: wait for the next of head, chunk, end, deadline (when not streaming, of the last two)."""
        if self.complete or self.broken or self.expired:
            return
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def take(self) -> bytes:
        """Caller: the oldest unread chunk; lets a waiting callee go on when enough was read."""
        chunk = self.chunks.popleft()
        self._unread -= len(chunk)
        if self._drained is not None and self._unread < HIGH_WATER_BYTES:
            _resolve(self._drained)
        return chunk

    def expire(self) -> None:
        """The deadline has passed."""
        self.expired = True
        self._wake()

    def leave(self) -> None:
        """Caller: nobody reads the answer any more; the callee hears `http.disconnect`."""
        self.gone = True
        _resolve(self._left)
        _resolve(self._drained)

    async def receive(self) -> Message:
        """Callee: the request's body, then nothing until the client is gone."""
        if not self._body_sent:
            self._body_sent = True
            return {"type": "http.request", "body": self._body, "more_body": False}
        if not (self.gone or self.complete):
            self._left = self._loop.create_future()
            await self._left
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Callee: the head or a part of the body. Raises OSError when the client has gone (ASGI 2.4)."""
        if self.gone:
            raise OSError("the caller has gone")
        kind = message["type"]
        if kind == "http.response.start" and not self.started:
            self.status = message["status"]
            raw = message.get("headers", ())
            self.headers = folded((name.decode("latin-1"), value.decode("latin-1")) for name, value in raw)
            self.started = True
            if self._streamed:
                self._wake()
        elif kind == "http.response.body" and self.started and not self.complete:
            await self._body_part(message.get("body", b""), more=message.get("more_body", False))
        else:
            raise RuntimeError(f"unexpected ASGI message {kind!r}")

    async def _body_part(self, chunk: bytes, *, more: bool) -> None:
        if chunk:
            self.chunks.append(bytes(chunk))
            self._unread += len(chunk)
        if not more:
            self.complete = True
            _resolve(self._left)
            self._wake()
        elif self._streamed:
            self._wake()
            while self._unread >= HIGH_WATER_BYTES and not self.gone:
                self._drained = self._loop.create_future()
                await self._drained

    def end(self) -> None:
        """Callee: its task is over. Without a head that is a 500, as from a server; else a break."""
        if self.complete:
            return
        if self.started:
            self.broken = True
        else:
            self.status = 500
            self.headers = {"content-type": "text/plain; charset=utf-8"}
            self.chunks.append(b"Internal Server Error")
            self.started = self.complete = True
        self._wake()

    def _wake(self) -> None:
        _resolve(self._waiter)


def _resolve(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)
