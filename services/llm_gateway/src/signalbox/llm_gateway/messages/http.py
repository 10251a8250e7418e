"""HTTP as Anthropic's clients expect it: their errors, and the header ``request-id``."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response

from signalbox.common.context import current_request
from signalbox.common.errors import SignalboxError
from signalbox.common.web.openapi import ErrorBody
from signalbox.llm_gateway.messages.error_shape import OVERLOADED, anthropic_error
from signalbox.llm_gateway.openai_http import ErrorShapedRoute

REQUEST_ID = "request-id"
PREFIX = "/llm/v1/messages"
"""Where errors have Anthropic's shape, those before a route is reached too."""


def request_id() -> str | None:
    """The id of the request being served."""
    request = current_request()
    return None if request is None else request.request_id


def anthropic_error_response(error: SignalboxError) -> Response:
    """The response to a request that failed."""
    identifier = request_id()
    status, body = anthropic_error(error, identifier)
    headers = {**error.headers, **_identified(identifier)}
    return Response(body, status_code=status, headers=headers, media_type="application/json")


ANTHROPIC_ERROR = ErrorBody(
    "application/json",
    "AnthropicError",
    {
        "type": "object",
        "description": "An error as Anthropic's API has it; `error.code` is ours, or the provider's.",
        "required": ["type", "error", "request_id"],
        "properties": {
            "type": {"const": "error"},
            "error": {
                "type": "object",
                "required": ["type", "message"],
                "properties": {
                    "type": {"type": "string"},
                    "message": {"type": "string"},
                    "code": {"type": ["string", "null"]},
                    "details": {"type": "object"},
                },
            },
            "request_id": {"type": ["string", "null"]},
        },
    },
    {503: (OVERLOADED, "Overloaded")},
)


class AnthropicRoute(ErrorShapedRoute):
    """A route whose answers carry ``request-id`` and whose errors have Anthropic's shape."""

    error_response = staticmethod(anthropic_error_response)
    error_body = ANTHROPIC_ERROR

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with its errors answered."""
        handler = super().get_route_handler()

        async def identified(request: Request) -> Response:
            response = await handler(request)
            response.headers.update(_identified(request_id()))
            return response

        return identified


def _identified(identifier: str | None) -> dict[str, str]:
    return {} if identifier is None else {REQUEST_ID: identifier}
