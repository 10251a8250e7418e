"""One request in the lane and its answer."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import cast

from opentelemetry import trace
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from signalbox.common.context import enter_request
from signalbox.common.errors import SignalboxError, Unavailable
from signalbox.common.telemetry.metrics import Metrics, RouteMetrics
from signalbox.common.telemetry.tracing import records, unrecorded_trace_id
from signalbox.common.web.middleware import describe_request, server_span
from signalbox.common.web.request_head import request_context
from signalbox.contracts import headers as names
from signalbox.llm_gateway.answers import ByteStream
from signalbox.llm_gateway.errors import internal_error
from signalbox.llm_gateway.front import (
    ModelFront,
    ModelRequest,
    ModelResponse,
    refused,
)
from signalbox.llm_gateway.lane.gate import Passed
from signalbox.llm_gateway.lane.head import answer_head
from signalbox.llm_gateway.ports import Operation
from signalbox.llm_gateway.protocol import DONE

_LOG = logging.getLogger(__name__)

ROUTES: dict[bytes, Operation] = {
    b"/llm/v1/chat/completions": "chat/completions",
    b"/llm/v1/embeddings": "embeddings",
}
_CLIENT_LEFT = 499


class Answering:
    """What all exchanges of a process share."""

    def __init__(self, front: ModelFront, metrics: Metrics, tracer: trace.Tracer) -> None:
        self.front = front
        self.tracer = tracer
        self.records = records(tracer)
        self.metrics: dict[bytes, RouteMetrics] = {
            path: metrics.route("POST", path.decode("ascii")) for path in ROUTES
        }


class _Nobody:
    """Stands for those who wait for a message of a request: in the lane nobody does."""

    def set(self) -> None:
        """Wake nobody."""


_NOBODY = cast("asyncio.Event", _Nobody())


class Exchange(RequestResponseCycle):
    """A request that the lane answers.

    To the connection it is a cycle like any other, so that requests which come after it wait for it, and a server that
    ends tells it so.
    """

    def __init__(  # the cycle's own has nothing for the lane
        self,
        answering: Answering,
        path: bytes,
        passed: Passed,
        flow: FlowControl,
        default_headers: Sequence[tuple[bytes, bytes]],
        *,
        keep_alive: bool,
    ) -> None:
        self.keep_alive = keep_alive
        self.disconnected = False
        self.response_complete = False
        self.message_event = _NOBODY
        self.flow = flow
        self.pieces: list[bytes] = []
        """Of the request's body."""
        self._answering = answering
        self.path = path
        self.passed = passed
        self._server_headers = default_headers
        self._started = time.perf_counter()
        self._status = _CLIENT_LEFT
        self._held = b""
        """What goes out at the end of this turn of the loop."""
        self._task: asyncio.Task[None] | None = None

    def begin(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.Transport,
        tasks: set[asyncio.Task[None]],
        on_end: Callable[[], None],
    ) -> None:
        """The request is whole: answer it in a task, which the server ends if it must; then call ``on_end``."""
        self._loop = loop
        self.transport = transport
        self.on_response = on_end
        self._tasks = tasks
        self._task = loop.create_task(self._run())
        tasks.add(self._task)

    def leave(self) -> None:
        """The client has left."""
        self.disconnected = True
        if self._task is not None:
            self._task.cancel()
            # One that had not begun will not come to take itself out.
            self._task.add_done_callback(self._tasks.discard)

    async def _run(self) -> None:
        context = request_context(self.passed.headers)
        enter_request(context)
        self._request_id = context.request_id
        try:
            if self._answering.records:
                await self._answer_traced()
            else:
                context.trace_id = unrecorded_trace_id(self.passed.headers)
                await self._answer()
        except asyncio.CancelledError:
            self._cancelled()
        except Exception:  # noqa: BLE001 - a bug: said once where operators look; the client gets no internals
            _LOG.exception("unhandled error")
            self._break_off(internal_error())
        finally:
            self._answering.metrics[self.path].observe(self._status, time.perf_counter() - self._started)
            if self._task is not None:
                self._tasks.discard(self._task)

    async def _answer_traced(self) -> None:
        path = self.path.decode("ascii")
        with server_span(self._answering.tracer, "POST", self.passed.headers) as span:
            try:
                await self._answer()
            finally:
                describe_request(span, "POST", path, path, self._status)

    async def _answer(self) -> None:
        # Kept no longer than the call needs it: the connection keeps its last exchange.
        pieces, self.pieces = self.pieces, []
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        principal, headers, caller = self.passed
        request = ModelRequest(ROUTES[self.path], principal, headers, body, caller)
        response = await self._answering.front.answer(request)
        if isinstance(response.body, bytes):
            self._send(response, response.body)
        else:
            await self._stream(response, response.body)

    def _send(self, response: ModelResponse, body: bytes) -> None:
        self._write(self._head(response, len(body)) + body)
        self._complete()

    async def _stream(self, response: ModelResponse, chunks: ByteStream) -> None:
        self._hold(self._head(response, None))
        try:
            async for chunk in chunks:
                if self.flow.write_paused:
                    # The client reads slowly: the provider is read no faster.
                    await self.flow.drain()
                if not chunk:
                    continue
                framed = b"%x\r\n%b\r\n" % (len(chunk), chunk)
                if chunk.endswith(DONE):
                    self._hold(framed)
                else:
                    self._write(framed)
        finally:
            await chunks.aclose()
        self._write(b"0\r\n\r\n")
        self._complete()

    # A write is a system call: a head goes out with the first chunk and the end with the last one, if they come in the
    # same turn of the loop, and else at its end.

    def _hold(self, data: bytes) -> None:
        if not self._held:
            self._loop.call_soon(self._release)
        self._held += data

    def _release(self) -> None:
        if self._held:
            self._write(b"")

    def _write(self, data: bytes) -> None:
        held, self._held = self._held, b""
        self.transport.write(held + data if held else data)

    def _head(self, response: ModelResponse, size: int | None) -> bytes:
        headers = {**response.headers, names.REQUEST_ID: self._request_id}
        head = answer_head(response.status, headers, self._server_headers, size, keep_alive=self.keep_alive)
        self._status = response.status
        return head

    def _complete(self) -> None:
        self.response_complete = True
        if not self.keep_alive:
            self.transport.close()
        self.on_response()

    def _cancelled(self) -> None:
        if not self.disconnected:
            # The process ends, and the call has had all the time that there was.
            self._break_off(Unavailable("This process ends; try again, another one answers."))

    def _break_off(self, error: SignalboxError) -> None:
        """There will be no answer, or no more of it: a client sees that, as the connection ends."""
        if self._status == _CLIENT_LEFT and not self.transport.is_closing():
            self.keep_alive = False
            response = refused(error)
            self._send(response, cast("bytes", response.body))
        else:
            self._release()
            self.transport.close()
