"""HTTP as OpenAI's clients expect it: errors in their shape, answers and streams as bytes."""

import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from signalbox.common.auth import Requires, principal_of
from signalbox.common.errors import Forbidden, SignalboxError
from signalbox.common.web.openapi import ErrorBody
from signalbox.common.web.problems import http_problem, validation_problem
from signalbox.common.web.routes import LateRoute
from signalbox.contracts.identity import Principal
from signalbox.contracts.identity import Scope as AccessScope
from signalbox.llm_gateway.answers import ByteStream, WholeAnswer
from signalbox.llm_gateway.errors import SAID_ONCE, internal_error
from signalbox.llm_gateway.front import ModelResponse, answered
from signalbox.llm_gateway.leaving import ClientLeft, while_client_stays
from signalbox.llm_gateway.protocol import error_body

_LOG = logging.getLogger(__name__)

_CLIENT_LEFT = 499


class ErrorShapedRoute(LateRoute):
    """A route that answers every error by ``error_response``, those of authentication and validation included."""

    error_response: Callable[[SignalboxError], Response]
    error_body: ErrorBody

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with its errors answered."""
        handler = super().get_route_handler()

        async def answering(request: Request) -> Response:
            try:
                return await handler(request)
            except ClientLeft:
                return Response(status_code=_CLIENT_LEFT)
            except SignalboxError as error:
                return self._refusal(error)
            except RequestValidationError as error:
                return self._refusal(validation_problem(error))
            except HTTPException as error:
                return self._refusal(http_problem(error, request.url.path))
            except Exception:  # noqa: BLE001 - a bug: said once where operators look; the client gets no internals
                _LOG.exception("unhandled error")
                return self._refusal(internal_error())

        return answering

    def _refusal(self, error: SignalboxError) -> Response:
        response = self.error_response(error)
        if response.status_code >= 500 and not isinstance(error, SAID_ONCE):
            _LOG.warning("model call failed: %s", error.code, extra={"code": error.problem().code})
        return response


class RequiresModels(Requires):
    """Principals with the scope ``llm``, and services of ours, which act for theirs."""

    def __init__(self) -> None:
        super().__init__(AccessScope.LLM)

    async def __call__(self, request: Request) -> Principal:
        """The principal of the request.

        Raises:
            Unauthenticated: no usable credential.
            Forbidden: the credential has neither scope.
        """
        principal = principal_of(request)
        if not (principal.may(self.scope) or principal.may(AccessScope.SERVICE)):
            raise Forbidden(f"This needs the scope '{self.scope}'; use a key that was created with it.")
        return principal


class StreamResponse(Response):
    """Sends a streamed answer as it comes and closes it wherever it ends."""

    def __init__(self, headers: Mapping[str, str], answer: ByteStream) -> None:
        super().__init__(headers=dict(headers))
        del self.headers["content-length"]
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send everything, or as much as the client stays for."""
        del scope
        try:
            await while_client_stays(receive, self._send(send))
        except (ClientLeft, OSError):
            return
        finally:
            await self._answer.aclose()

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for chunk in self._answer:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def model_response(response: ModelResponse) -> Response:
    """The response of a front as FastAPI takes it."""
    if isinstance(response.body, bytes):
        return Response(response.body, status_code=response.status, headers=dict(response.headers))
    return StreamResponse(response.headers, response.body)


def answer_response(answer: WholeAnswer | ByteStream) -> Response:
    """The response that carries an answer."""
    return model_response(answered(answer))


STREAM: dict[str, Any] = {"text/event-stream": {}}
WHOLE: dict[str, Any] = {"application/json": {"schema": {"type": "object"}}}
MODEL_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"content": {**WHOLE, **STREAM}},
    408: {},
}
"""What a model call answers, for the API description: whole or as a stream; and how else a call may be refused."""


def openai_error_response(error: SignalboxError) -> Response:
    """The response to a request that failed."""
    status, body = error_body(error)
    return Response(body, status_code=status, headers=error.headers, media_type="application/json")


OPENAI_ERROR = ErrorBody(
    "application/json",
    "OpenAIError",
    {
        "type": "object",
        "description": "An error as OpenAI's API has it; `code` is ours, or the provider's.",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["message", "type", "param", "code"],
                "properties": {
                    "message": {"type": "string"},
                    "type": {"type": "string"},
                    "param": {"type": ["string", "null"]},
                    "code": {"type": ["string", "null"]},
                },
            }
        },
    },
)


class OpenAIRoute(ErrorShapedRoute):
    """A route whose errors have OpenAI's shape."""

    error_response = staticmethod(openai_error_response)
    error_body = OPENAI_ERROR
