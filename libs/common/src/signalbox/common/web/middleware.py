"""What happens around every request, in one ASGI layer: ids, deadline, span, body limit, metrics, bugs."""

import logging
import time
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from signalbox.common.context import enter_request
from signalbox.common.errors import BadRequest, PayloadTooLarge, SignalboxError
from signalbox.common.telemetry.metrics import Metrics
from signalbox.common.telemetry.tracing import extract_context, records, unrecorded_trace_id
from signalbox.common.web.problems import ErrorResponse, problem_response
from signalbox.common.web.request_head import request_context, whole_number
from signalbox.contracts import headers as names

_LOG = logging.getLogger(__name__)
_TIMEOUT_MS = names.TIMEOUT_MS.encode()
HEADERS = "signalbox.headers"
"""Where a scope has the request's headers, names in lower case, once this layer has seen it."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_UNTRACED = frozenset({"/live", "/ready", "/metrics", "/openapi.json"})


class RequestMiddleware:
    """Wraps a service's app."""

    def __init__(
        self,
        app: ASGIApp,
        tracer: trace.Tracer,
        metrics: Metrics,
        max_body_bytes: int,
        error_response: ErrorResponse = problem_response,
    ) -> None:
        self._app = app
        self._tracer = tracer
        self._metrics = metrics
        self._max_body_bytes = max_body_bytes
        self._error_response = error_response
        self._records = records(tracer)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or HEADERS in scope or scope["path"] in _UNTRACED:
            await self._app(scope, receive, send)
            return
        # Of headers that come twice the first counts, as it does for routes.
        headers = {
            key.decode("latin-1"): value.decode("latin-1") for key, value in reversed(scope["headers"])
        }
        scope[HEADERS] = headers
        context = request_context(headers)
        enter_request(context)
        exchange = _Exchange(scope, receive, send, context.request_id, self._max_body_bytes)
        if not self._records:
            context.trace_id = unrecorded_trace_id(headers)
            await self._serve(scope, exchange, trace.INVALID_SPAN)
            return
        with server_span(self._tracer, scope["method"], headers) as span:
            await self._serve(scope, exchange, span)

    async def _serve(self, scope: Scope, exchange: "_Exchange", span: trace.Span) -> None:
        started = time.perf_counter()
        try:
            refusal = exchange.refusal()
            if refusal is not None:
                await exchange.fail(refusal, self._error_response)
            else:
                await self._app(scope, exchange.receive, exchange.send)
        except SignalboxError as error:
            if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                _LOG.warning("request failed: %s", error.detail, extra={"code": error.code})
            await exchange.fail(error, self._error_response)
        except Exception as error:
            # A bug: said once, with its traceback, where operators look; the client gets no internals.
            _LOG.exception("unhandled error")
            span.record_exception(error)
            bug = SignalboxError("Something went wrong on our side; the request id finds it.")
            await exchange.fail(bug, self._error_response)
            if exchange.started and exchange.status < 500:
                raise
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            # A client may send any word as its method; each would be a time series of its own.
            method = scope["method"] if scope["method"] in _METHODS else "OTHER"
            self._metrics.observe(method, route, exchange.status, time.perf_counter() - started)
            describe_request(span, method, route, scope["path"], exchange.status)


@contextmanager
def server_span(tracer: trace.Tracer, method: str, headers: Mapping[str, str]) -> Iterator[trace.Span]:
    """The span of a request being served, as the current one; it belongs to the trace that the request names."""
    with tracer.start_as_current_span(
        method,
        context=extract_context(headers),
        kind=SpanKind.SERVER,
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        yield span


def describe_request(span: trace.Span, method: str, route: str, path: str, status: int) -> None:
    """Write into a server span what was asked and how it was answered."""
    if not span.is_recording():
        return
    # OpenTelemetry semantic conventions for HTTP spans.
    span.update_name(f"{method} {route}")
    span.set_attribute("http.request.method", method)
    span.set_attribute("http.route", route)
    span.set_attribute("url.path", path)
    span.set_attribute("http.response.status_code", status)
    if status >= 500:
        span.set_status(Status(StatusCode.ERROR))


class _Exchange:
    """The receive and send of one request, watched."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, request_id: str, max_body_bytes: int
    ) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._request_id = request_id.encode("latin-1")
        self._limit = max_body_bytes
        self._received = 0
        self.started = False
        self.status = 499  # nothing was sent: the client had left

    def refusal(self) -> SignalboxError | None:
        """What the headers alone have wrong: a body that they say is too large, a time that is none."""
        for key, value in self._scope["headers"]:
            if key == b"content-length":
                digits = value.decode("latin-1")
                if (whole_number(digits) or 0) > self._limit:
                    return self.too_large()
            elif key == _TIMEOUT_MS and whole_number(value.decode("latin-1")) is None:
                return BadRequest("Signalbox-Timeout-Ms is a whole number of milliseconds, such as 30000.")
        return None

    def too_large(self) -> PayloadTooLarge:
        """The error for a body over the limit."""
        return PayloadTooLarge(f"The body is over {self._limit} bytes; send less, or split it.")

    async def receive(self) -> Message:
        """The next message, unless the body has grown too large."""
        message = await self._receive()
        if message["type"] == "http.request":
            self._received += len(message.get("body", b""))
            if self._received > self._limit:
                raise self.too_large()
        return message

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Pass a message on, with the request id on the first one."""
        if message["type"] == "http.response.start":
            self.started = True
            self.status = message["status"]
            message.setdefault("headers", [])
            message["headers"] = [*message["headers"], (b"x-request-id", self._request_id)]
        await self._send(message)

    async def fail(self, error: SignalboxError, error_response: ErrorResponse) -> None:
        """Answer with the error, if nothing was sent yet."""
        if self.started:
            return
        response = error_response(error, self._scope["path"])
        await response(self._scope, self._receive, self.send)
