"""HTTP as OpenAI's clients expect it: errors in their shape, answers and streams as bytes."""

import logging
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from signalbox.common.auth import Requires, principal_of
from signalbox.common.errors import Forbidden, SignalboxError
from signalbox.common.web.problems import validation_problem
from signalbox.contracts.identity import Principal
from signalbox.contracts.identity import Scope as AccessScope
from signalbox.llm_gateway.answers import StreamedAnswer, WholeAnswer
from signalbox.llm_gateway.leaving import ClientLeft, while_client_stays
from signalbox.llm_gateway.protocol import error_body

_LOG = logging.getLogger(__name__)

_CLIENT_LEFT = 499
_STREAM_HEADERS = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}


class OpenAIRoute(APIRoute):
    """A route whose errors have OpenAI's shape, those of authentication and validation included."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with its errors answered."""
        handler = super().get_route_handler()

        async def answering(request: Request) -> Response:
            try:
                return await handler(request)
            except ClientLeft:
                return Response(status_code=_CLIENT_LEFT)
            except SignalboxError as error:
                return error_response(error)
            except RequestValidationError as error:
                return error_response(validation_problem(error))
            except Exception:  # noqa: BLE001 - a bug: said once where operators look; the client gets no internals
                _LOG.exception("unhandled error")
                return error_response(
                    SignalboxError("Something went wrong on our side; the request id finds it.")
                )

        return answering


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

    def __init__(self, answer: StreamedAnswer) -> None:
        super().__init__(headers={**_STREAM_HEADERS, **answer.headers})
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


def answer_response(answer: WholeAnswer | StreamedAnswer) -> Response:
    """The response that carries an answer."""
    if isinstance(answer, StreamedAnswer):
        return StreamResponse(answer)
    return Response(answer.body, headers=dict(answer.headers), media_type="application/json")


def error_response(error: SignalboxError, path: str | None = None) -> Response:
    """The response to a request that failed; ``path`` does not matter, all are OpenAI's."""
    del path
    status, body = error_body(error)
    if status >= 500:
        _LOG.warning("model call failed: %s", error.code, extra={"code": error.problem().code})
    return Response(body, status_code=status, headers=error.headers, media_type="application/json")
