"""What a model call needs from HTTP and gives back, whoever speaks HTTP: FastAPI's routes, or the fast lane."""

import logging
from collections.abc import Awaitable, Mapping

from signalbox.common.context import current_deadline
from signalbox.common.errors import SignalboxError
from signalbox.common.record import record
from signalbox.contracts import headers as names
from signalbox.contracts.identity import Principal, Scope
from signalbox.llm_gateway.answers import ByteStream, StreamedAnswer, WholeAnswer
from signalbox.llm_gateway.caching.idempotency import IdempotentCalls, Repeatable
from signalbox.llm_gateway.caching.idempotency.streams import Route
from signalbox.llm_gateway.caching.wishes import CacheWishes
from signalbox.llm_gateway.call import Caller
from signalbox.llm_gateway.calls import ModelCalls
from signalbox.llm_gateway.errors import SAID_ONCE, internal_error
from signalbox.llm_gateway.ports import Operation
from signalbox.llm_gateway.protocol import RequestBody, error_body
from signalbox.llm_gateway.protocol.marked_body import MarkedBody
from signalbox.llm_gateway.records import Labels

_LOG = logging.getLogger(__name__)

_JSON = {"content-type": "application/json"}
_EVENTS = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}


@record
class ModelRequest:
    """A model call as HTTP brought it; header names are lower-case, ``body`` is whole."""

    operation: Operation
    principal: Principal
    headers: Mapping[str, str]
    body: bytes
    caller: Caller | None = None
    """Who calls, where somebody has looked already."""


@record
class ModelResponse:
    """What HTTP has to send: a whole body, or a stream, which must be closed wherever it ends."""

    status: int
    headers: Mapping[str, str]
    body: bytes | ByteStream

    async def aclose(self) -> None:
        """Close the stream of an answer that is not sent; nothing to do for a whole one."""
        if not isinstance(self.body, bytes):
            await self.body.aclose()


class ModelFront:
    """Answers model calls in OpenAI's protocol, their failures too."""

    def __init__(self, calls: ModelCalls, once: IdempotentCalls) -> None:
        self._calls = calls
        self._once = once

    async def answer(self, request: ModelRequest) -> ModelResponse:
        """The answer. Cancelling it stops the provider and writes the ledger row of a client that has left."""
        try:
            body = RequestBody.parse(request.body)
            caller = request.caller or caller_of(request.headers, request.principal)
            if request.operation == "chat/completions":
                body.check_chat()
                if names.LLM_CACHE_MARKS in request.headers:
                    body = MarkedBody.of(body, request.headers[names.LLM_CACHE_MARKS])
            if names.IDEMPOTENCY_KEY not in request.headers:
                return answered(await self._made(request.operation, body, caller))
            asked = repeatable(request.headers, caller, request.operation, body.raw)
            return answered(
                await self._once.answer(asked, lambda: self._made(request.operation, body, caller))
            )
        except SignalboxError as error:
            return refused(error)
        except Exception:  # noqa: BLE001 - a bug: said once where operators look; the client gets no internals
            _LOG.exception("unhandled error")
            return refused(internal_error())

    def _made(
        self, operation: Operation, body: RequestBody, caller: Caller
    ) -> Awaitable[WholeAnswer | StreamedAnswer]:
        if operation == "embeddings":
            return self._calls.embed(body, caller)
        return self._calls.chat(body, caller)


def caller_of(headers: Mapping[str, str], principal: Principal) -> Caller:
    """Who calls, as the request says (header names are lower-case).

    Raises:
        MalformedCall: a label is none.
    """
    # Without the header a deployment's own limit counts: answers of models may take minutes.
    deadline = current_deadline() if names.TIMEOUT_MS in headers else None
    names_users = principal.may(Scope.SERVICE) or principal.may(Scope.ACT_FOR_USERS)
    labels = Labels.from_headers(headers, names_users=names_users)
    return Caller(principal, labels, deadline, CacheWishes.from_headers(headers))


def repeatable(headers: Mapping[str, str], caller: Caller, route: Route, body: bytes) -> Repeatable:
    """A call as its Idempotency-Key names it."""
    return Repeatable(headers.get(names.IDEMPOTENCY_KEY), caller.principal, route, body, caller.deadline)


def answered(answer: WholeAnswer | ByteStream) -> ModelResponse:
    """The response that carries an answer."""
    if isinstance(answer, WholeAnswer):
        return ModelResponse(200, {**_JSON, **answer.headers}, answer.body)
    return ModelResponse(200, {**_EVENTS, **answer.headers}, answer)


def refused(error: SignalboxError) -> ModelResponse:
    """The response to a call that failed, in OpenAI's shape."""
    status, body = error_body(error)
    if status >= 500 and not isinstance(error, SAID_ONCE):
        _LOG.warning("model call failed: %s", error.code, extra={"code": error.problem().code})
    return ModelResponse(status, {**_JSON, **error.headers}, body)
