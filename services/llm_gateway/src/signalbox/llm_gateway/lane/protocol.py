"""A connection with a fast lane: uvicorn's, except that some requests never become ASGI's."""

import asyncio
import math
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from signalbox.contracts.problem import PROBLEM_JSON
from signalbox.llm_gateway.errors import RequestTooSlow
from signalbox.llm_gateway.lane.exchange import ROUTES, Answering, Exchange
from signalbox.llm_gateway.lane.gate import Gate, Passed
from signalbox.llm_gateway.lane.head import KnownHead, answer_head
from signalbox.llm_gateway.lane.metrics import LaneCounter
from signalbox.llm_gateway.lane.patience import Patience
from signalbox.llm_gateway.protocol import error_body

_BUSY = math.inf
_CLOCK_S = 0.001
"""An event loop's clock may stand still for so long: uvloop's counts milliseconds."""


class LaneProtocol(HttpToolsProtocol):
    """Speaks HTTP/1.1. What a subclass's ``gate`` lets pass is answered here, everything else by the ASGI app."""

    gate: ClassVar[Gate]
    answering: ClassVar[Answering]
    patience: ClassVar[Patience]
    taken: ClassVar[LaneCounter]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._exchange: Exchange | None = None
        """The last one of the lane, if it may still be under way."""
        self._incoming = False
        """Whether the request that is being read is the lane's."""
        self._idle_until = _BUSY
        self._between = True
        """Whether nothing of a request has come that is not whole yet."""
        self._begun = False
        """Whether what came last was of any request."""
        self._in_body = False
        """Of a request that is not whole: whether its head is."""
        self._rest_timer: asyncio.TimerHandle | None = None
        """Runs while the rest of a request is waited for."""
        self._known: tuple[KnownHead, bytes, Passed] | None = None
        """The last head of the lane's whose request came in one piece, its path, and what the gate made of it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there; it must say something before long."""
        super().connection_made(transport)
        self._await_rest()

    def data_received(self, data: bytes) -> None:
        """Bytes came. What begins with the head of the request before need not be read again to be known."""
        known = self._known
        if known is not None and self._between and not self._is_answering:
            head, path, passed = known
            body = head.body_of(data, self.gate.max_body_bytes)
            again = None if body is None else self.gate.pass_again(passed)
            if body is not None and again is not None:
                self._idle_until = _BUSY
                self.cycle = self._exchange = exchange = self._made(path, again, keep_alive=True)
                exchange.pieces.append(body)
                exchange.begin(self.loop, self.transport, self.tasks, self.on_response_complete)
                return
        begins, before, idle_until = self._between, self._exchange, self._idle_until
        self._begun = not begins
        super().data_received(data)
        self._learn(data, None if self._exchange is before or not begins else self._exchange)
        if not self._between:
            self._await_rest()
        elif not self._begun:
            # Only line ends between requests: the connection is as idle as before.
            self._idle_until = idle_until

    def _learn(self, data: bytes, exchange: Exchange | None) -> None:
        """Remember the head of ``exchange``, if all of it was in ``data``."""
        if self._between and exchange is not None:
            head_of = KnownHead.of(data) if exchange.keep_alive else None
            self._known = None if head_of is None else (head_of, exchange.path, exchange.passed)

    def on_message_begin(self) -> None:
        """A request begins; its scope is made when it is known to need one."""
        self._between = self._in_body = False
        self._begun = True
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def on_headers_complete(self) -> None:
        """A head is there: choose the way."""
        self._in_body = True
        self._rest_came()
        exchange = self._lane_exchange()
        if exchange is None:
            url, headers, expects = self.url, self.headers, self.expect_100_continue
            super().on_message_begin()
            self.url, self.headers, self.expect_100_continue = url, headers, expects
            self.scope["headers"] = headers
            super().on_headers_complete()
        else:
            self.cycle = self._exchange = exchange
            self._incoming = True

    def on_body(self, body: bytes) -> None:
        """A piece of the request's body, which the gate has found to be not too long."""
        if self._incoming and self._exchange is not None:
            self._exchange.pieces.append(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._between = True
        self._rest_came()
        exchange = self._exchange
        if self._incoming and exchange is not None:
            self._incoming = False
            exchange.begin(self.loop, self.transport, self.tasks, self.on_response_complete)
        else:
            super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has left."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None and not exchange.response_complete:
            exchange.leave()
        super().connection_lost(exc)
        self._rest_came()
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None

    @property
    def _is_answering(self) -> bool:
        """Whether a request that came before is not answered yet."""
        before: RequestResponseCycle | None = self.cycle
        return before is not None and not before.response_complete

    # Whoever has begun a request must go on with it. In one piece, as most come, they need no timer.

    def _await_rest(self) -> None:
        if self._rest_timer is None and not self.transport.is_closing():
            seconds = self.patience.body_s if self._in_body else self.patience.head_s
            self._rest_timer = self.loop.call_later(seconds, self._rest_is_late)

    def _rest_came(self) -> None:
        if self._rest_timer is not None:
            self._rest_timer.cancel()
            self._rest_timer = None

    def _rest_is_late(self) -> None:
        self._rest_timer = None
        if self.transport.is_closing() or self.transport.get_protocol() is not self:
            return
        if self.flow.read_paused or self.pipeline or (self._is_answering and not self._in_body):
            # It is we who do not read on, or an earlier request that is not answered yet.
            self._await_rest()
            return
        if not self._between:
            self._refuse_rest()
        self.transport.close()

    def _refuse_rest(self) -> None:
        """Say why the connection ends, if no answer has begun."""
        if self._in_body:
            if not self._incoming and self.cycle.response_started:
                return
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        part = "body" if self._in_body else "head"
        error = RequestTooSlow(f"The {part} of the request did not come in time; send it again, faster.")
        if self.url.startswith(b"/llm/"):
            status, content = error_body(error)
            kind = "application/json"
        else:
            problem = error.problem()
            status, content = problem.status, problem.model_dump_json(exclude_none=True).encode()
            kind = PROBLEM_JSON
        more = self.server_state.default_headers
        head = answer_head(status, {"content-type": kind}, more, len(content), keep_alive=False)
        self.transport.write(head + content)

    # The timer of an idle connection serves many requests: it is left alone, and looks again when it fires.

    def on_response_complete(self) -> None:
        """An answer has gone out: begin the next request that has come, or wait for one for a while."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.flow.read_paused:
            self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
            return
        self._idle_until = self.loop.time() + self.timeout_keep_alive
        if self.timeout_keep_alive_task is None:
            self._start_idle_timer(self.timeout_keep_alive)

    def timeout_keep_alive_handler(self) -> None:
        """The timer fired: end a connection that has been idle for long enough."""
        self.timeout_keep_alive_task = None
        left = self._idle_until - self.loop.time()
        if self.transport.is_closing() or self._idle_until == _BUSY:
            return
        if left > _CLOCK_S:
            self._start_idle_timer(left)
        else:
            self.transport.close()

    def _unset_keepalive_if_required(self) -> None:
        self._idle_until = _BUSY

    def _start_idle_timer(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def _lane_exchange(self) -> Exchange | None:
        """The request whose head is there, if it is the lane's."""
        parser, path = self.parser, self.url
        if (
            path not in ROUTES
            or parser.get_method() != b"POST"
            or parser.get_http_version() != "1.1"
            or parser.should_upgrade()
            or self.expect_100_continue
            or self.root_path
            or self.limit_concurrency is not None
            or self._is_answering
        ):
            return None
        passed = self.gate.pass_on(self.headers)
        if passed is None:
            return None
        return self._made(path, passed, keep_alive=parser.should_keep_alive())

    def _made(self, path: bytes, passed: Passed, *, keep_alive: bool) -> Exchange:
        self.taken.value += 1
        more = self.server_state.default_headers
        return Exchange(self.answering, path, passed, self.flow, more, keep_alive=keep_alive)
