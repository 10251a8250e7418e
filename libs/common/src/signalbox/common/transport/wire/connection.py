"""One connection to a server: a request goes out, its answer comes in, then the next (RFC 9112)."""

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

from signalbox.common.transport.wire.answer import Answer, AnswerHeaders
from signalbox.common.transport.wire.errors import AnswerTooLarge, BrokenOff, NotHttp, Stale, WireError

MAX_HEAD_BYTES = 64 * 1024

_TOGETHER = 64 * 1024
"""A body of at most so many bytes is copied behind its head, which costs less than sending two pieces."""

_CLOCK_S = 0.001
"""An event loop's clock may stand still for so long: uvloop's counts milliseconds."""

_LENGTHS = frozenset({b"content-length", b"transfer-encoding"})
"""Headers that say where a body ends; without them it ends with the connection (RFC 9112, section 6.3)."""


class Connection(asyncio.Protocol):
    """Speaks HTTP/1.1 by one transport.

    ``on_free(connection)`` is called when an answer is whole and the connection can take another request, maybe
    before the answer's reader has read it; ``on_closed(connection)`` once, when it cannot be used any more.
    """

    def __init__(
        self, on_free: "Callable[[Connection], None]", on_closed: "Callable[[Connection], None]"
    ) -> None:
        self.idle_until = 0.0
        """For the pool."""
        self._on_free = on_free
        self._on_closed: Callable[[Connection], None] | None = on_closed
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        """None before the connection stands and when it cannot be used any more."""
        self._parser = httptools.HttpResponseParser(self)
        self._answer: Answer | None = None
        self._reused = False
        self._is_head = False
        self._raw: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._bounded = False
        self._whole = False
        self._keep = False
        # One timer serves many answers: it is not moved when the time is later than it, but looks again when it fires.
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._until = 0.0

    def send(self, head: bytes, body: bytes) -> Answer:
        """Send a request; its answer, of which nothing has come yet. One to HEAD ends with its head."""
        answer = Answer(self._loop, self)
        transport = self._transport
        if transport is None:
            # It was lost between being given out and this.
            answer.fail(Stale("it closed the connection"))
            return answer
        self._answer = answer
        self._is_head = head.startswith(b"HEAD ")
        self._head_bytes = 0
        self._whole = False
        if len(body) <= _TOGETHER:
            transport.write(head + body)
        else:
            transport.writelines((head, body))
        return answer

    def abort(self) -> None:
        """End it at once, also when the provider reads nothing; without effect on one that has ended."""
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.fail(BrokenOff("this side closed the connection"))
        transport = self._transport
        self._closed()
        if transport is not None:
            transport.abort()

    @property
    def is_open(self) -> bool:
        """Whether it can be used."""
        return self._transport is not None

    def pause(self) -> None:
        """See ``answer.Source``."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume(self) -> None:
        """See ``answer.Source``."""
        if self._transport is not None:
            self._transport.resume_reading()

    def wait_until(self, until: float) -> None:
        """See ``answer.Source``."""
        self._until = until
        if self._timer is None or until < self._timer_at:
            self._stop_timer()
            self._start_timer(until)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        answer = self._answer
        if answer is None:
            # Nothing was asked: a server says goodbye, or is broken. No request is to meet that.
            self.abort()
            return
        answer.begun = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._keep = False
            if not self._whole:
                self._fail(NotHttp(f"it does not answer in HTTP/1.1: {type(error).__name__}"))
                return
        if self._whole:
            self._finish(answer)
        elif answer.status:
            answer.wake()
        else:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._fail(AnswerTooLarge(f"a head of more than {MAX_HEAD_BYTES} bytes"))

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended, and with it a body whose head does not say how long it is."""
        answer, self._answer = self._answer, None
        if answer is not None:
            if answer.status and not self._bounded and exc is None:
                answer.end()
            elif self._reused and not answer.begun:
                answer.fail(Stale("it closed the connection"))
            else:
                answer.fail(BrokenOff("it closed the connection"))
        self._closed()

    # httptools.HttpResponseParser

    def on_message_begin(self) -> None:
        """A head follows, maybe that of an interim answer."""
        if self._whole:
            self._keep = False  # a second answer to one request
        self._raw = []
        self._bounded = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._raw.append((name, value))
        if not self._bounded and name.lower() in _LENGTHS:
            self._bounded = True

    def on_headers_complete(self) -> None:
        """The head is there."""
        status = self._parser.get_status_code()
        if self._answer is not None and status >= 200 and not self._whole:
            self._answer.status = status
            self._answer.headers = AnswerHeaders(self._raw)
            # The parser does not know that the length is of a body that is not sent: it reads no other answer.
            self._whole = self._is_head
            self._keep = False

    def on_body(self, piece: bytes) -> None:
        """A piece of the body, without its framing."""
        if self._answer is not None and not self._whole:
            self._answer.add(piece)

    def on_message_complete(self) -> None:
        """The end of an answer, or of an interim one."""
        if self._answer is not None and self._answer.status and not self._whole:
            self._whole = True
            self._keep = self._parser.should_keep_alive()

    def _finish(self, answer: Answer) -> None:
        self._answer = None
        self._reused = True
        answer.end()
        transport = self._transport
        # A provider that answers before it has read the request cannot be asked for more by this connection.
        if self._keep and transport is not None and not transport.get_write_buffer_size():
            if answer.paused:
                transport.resume_reading()
            self._on_free(self)
        else:
            self.abort()

    def _fail(self, failure: WireError) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.fail(failure)
        self.abort()

    def _start_timer(self, at: float) -> None:
        self._timer_at = at
        self._timer = self._loop.call_at(at, self._time_passed)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_passed(self) -> None:
        self._timer = None
        if self._answer is None:
            return
        if self._until - self._loop.time() > _CLOCK_S:
            self._start_timer(self._until)
        else:
            self._answer.time_passed()

    def _closed(self) -> None:
        self._transport = None
        self._stop_timer()
        tell, self._on_closed = self._on_closed, None
        if tell is not None:
            tell(self)
