"""What every service client does: identity, deadline, trace, idempotency on each call; problems as errors."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import ClassVar, TypeVar

from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode
from pydantic import BaseModel, ValidationError

from signalbox.common.auth import ServiceTokens
from signalbox.common.context import current_deadline, current_request
from signalbox.common.errors import SignalboxError, Unauthenticated
from signalbox.common.telemetry import inject_traceparent
from signalbox.common.transport import HopRequest, HopStream, ServiceHop
from signalbox.contracts import headers as names
from signalbox.contracts.admin import ServiceName
from signalbox.contracts.identity import Principal
from signalbox.contracts.problem import Problem

_TRIES = (False, True)
"""Whether a try is the last. A token is refused before anything is done, so that one more call, with a token of now,
does nothing twice: it is for calls that were under way when a clock was set."""

ReplyT = TypeVar("ReplyT", bound=BaseModel)


class ServiceCallFailed(SignalboxError):
    """A service answered with a problem; it is passed on as it came."""

    def __init__(self, service: ServiceName, problem: Problem, headers: Mapping[str, str]) -> None:
        retry_after = headers.get("retry-after")
        super().__init__(
            problem.detail,
            errors=problem.errors,
            headers={"Retry-After": retry_after} if retry_after else None,
        )
        self.service = service
        self.upstream = problem

    def problem(
        self, *, instance: str | None = None, request_id: str | None = None, trace_id: str | None = None
    ) -> Problem:
        """The problem that the service gave, for the request being served here."""
        return self.upstream.model_copy(
            update={"instance": instance, "request_id": request_id, "trace_id": trace_id}
        )


class ServiceClient:
    """Base of the clients. One instance lives as long as the process and is shared by all requests."""

    service: ClassVar[ServiceName]

    def __init__(self, hop: ServiceHop, tokens: ServiceTokens, tracer: trace.Tracer) -> None:
        self._hop = hop
        self._tokens = tokens
        self._tracer = tracer

    def _request(
        self,
        method: str,
        path: str,
        body: bytes,
        *,
        principal: Principal | None,
        timeout_s: float | None,
        idempotency_key: str | None,
        headers: Mapping[str, str] | None,
        span: trace.Span,
    ) -> HopRequest:
        remaining = current_deadline().check(f"a call to {self.service}") if timeout_s is None else timeout_s
        sent = {
            "authorization": f"Bearer {self._tokens.mint(self.service, principal)}",
        }
        if body:
            sent["content-type"] = "application/json"
        request = current_request()
        if request is not None:
            sent[names.REQUEST_ID] = request.request_id
        if idempotency_key is not None:
            sent[names.IDEMPOTENCY_KEY] = idempotency_key
        if headers:
            sent.update(headers)
        inject_traceparent(sent, span)
        repeatable = method in {"GET", "HEAD"} or idempotency_key is not None
        return HopRequest(method, path, sent, body, remaining, repeatable)

    async def _call(
        self,
        method: str,
        path: str,
        reply: type[ReplyT],
        body: BaseModel | None = None,
        *,
        principal: Principal | None = None,
        timeout_s: float | None = None,
        idempotency_key: str | None = None,
    ) -> ReplyT:
        """One call with a JSON answer.

        Raises:
            ServiceCallFailed: the service answered with a problem.
            HopError: it could not be reached, or not in time.
        """
        payload = b"" if body is None else body.model_dump_json(exclude_unset=False).encode()
        with self._span(method, path) as span:
            for last in _TRIES:
                response = await self._hop.send(
                    self._request(
                        method,
                        path,
                        payload,
                        principal=principal,
                        timeout_s=timeout_s,
                        idempotency_key=idempotency_key,
                        headers=None,
                        span=span,
                    )
                )
                if response.status < 400:
                    break
                failure = self._failure(response.status, response.body, response.headers)
                if last or not _token_was_refused(failure):
                    raise failure
        return self._parsed(reply, response.body)

    @asynccontextmanager
    async def _open(
        self,
        method: str,
        path: str,
        body: bytes,
        *,
        principal: Principal | None = None,
        timeout_s: float | None = None,
        idempotency_key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[HopStream]:
        """One call whose answer is read as it comes; a problem is raised before anything is read."""
        with self._span(method, path) as span:
            for last in _TRIES:
                request = self._request(
                    method,
                    path,
                    body,
                    principal=principal,
                    timeout_s=timeout_s,
                    idempotency_key=idempotency_key,
                    headers=headers,
                    span=span,
                )
                async with self._hop.stream(request) as stream:
                    if stream.status < 400:
                        yield stream
                        return
                    failure = self._failure(stream.status, await stream.read(), stream.headers)
                if last or not _token_was_refused(failure):
                    raise failure

    @contextmanager
    def _span(self, method: str, path: str) -> Iterator[trace.Span]:
        # Not made the current span: a stream is read by a generator, whose end may come in another task.
        span = self._tracer.start_span(
            f"{method} {self.service}",
            kind=SpanKind.CLIENT,
            attributes={"http.request.method": method, "url.path": path, "peer.service": self.service},
        )
        try:
            yield span
        except SignalboxError as error:
            span.set_status(Status(StatusCode.ERROR, error.code))
            raise
        finally:
            span.end()

    def _parsed(self, kind: type[ReplyT], body: bytes) -> ReplyT:
        """An answer in its type.

        Raises:
            ServiceCallFailed: it is of another.
        """
        try:
            return kind.model_validate_json(body)
        except ValidationError as error:
            raise unreadable(self.service, error) from error

    def _failure(self, status: int, body: bytes, headers: Mapping[str, str]) -> ServiceCallFailed:
        try:
            problem = Problem.model_validate_json(body)
        except ValidationError:
            problem = Problem(
                title="Unexpected answer",
                status=502 if status >= 500 else status,
                code="unexpected_answer",
                detail=f"The {self.service} service answered {status} without problem details.",
            )
        return ServiceCallFailed(self.service, problem, headers)


def _token_was_refused(failure: ServiceCallFailed) -> bool:
    return failure.upstream.code == Unauthenticated.code


def unreadable(service: ServiceName, error: ValidationError) -> ServiceCallFailed:
    """The error of an answer that is not what the contract says: a defect of the service that gave it."""
    where = ".".join(str(part) for part in error.errors(include_input=False)[0]["loc"])
    problem = Problem(
        title="Unexpected answer",
        status=502,
        code="unexpected_answer",
        detail=f"The {service} service gave an answer that cannot be read{f' (at {where})' if where else ''}.",
    )
    return ServiceCallFailed(service, problem, {})


async def lines(stream: HopStream) -> AsyncGenerator[bytes, None]:
    """The lines of a streamed body, without their line ends, empty ones left out."""
    rest = b""
    async for chunk in stream.chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            if stripped := line.rstrip(b"\r"):
                yield stripped
    if rest:
        yield rest
