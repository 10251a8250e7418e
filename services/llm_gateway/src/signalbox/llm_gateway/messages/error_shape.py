"""Errors in the shape of Anthropic's API.

``{"type": "error", "error": {"type", "message", "code", "details": {"error_code"}}, "request_id"}``; ``code`` is
ours, or the provider's where it gave one. Source: Anthropic API reference, "Errors" (types and statuses); the SDKs
choose their exception class by the status and show ``details.error_code``.
"""

from typing import Any

import orjson

from signalbox.common.errors import SignalboxError
from signalbox.llm_gateway.protocol import error_body

Json = dict[str, Any]

OVERLOADED = 529
"""Anthropic's status for "try again later", where ours is 503."""

_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    OVERLOADED: "overloaded_error",
}
_STREAM_TYPES = frozenset(
    {"authentication_error", "permission_error", "rate_limit_error", "invalid_request_error"}
)
_STREAM_CODES = {
    "deadline_exceeded": "timeout_error",
    "provider_timeout": "timeout_error",
    "provider_unreachable": "overloaded_error",
    "rate_limit_exceeded": "rate_limit_error",
}


def anthropic_error(error: SignalboxError, request_id: str | None) -> tuple[int, bytes]:
    """Status and body of the answer to a call that failed with ``error``."""
    status, body = error_body(error)
    if status == 503:
        status = OVERLOADED
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
    found = orjson.loads(body)["error"]
    return status, orjson.dumps(_shaped(kind, found["message"], found["code"], request_id))


def streamed_error(error: Json, request_id: str | None) -> Json:
    """The error that ends a chat stream, as data of Anthropic's event ``error``."""
    code = error.get("code")
    kind = error.get("type")
    if kind not in _STREAM_TYPES:
        kind = _STREAM_CODES.get(str(code), "api_error")
    return _shaped(str(kind), error.get("message"), code, request_id)


def _shaped(kind: str, message: Any, code: Any, request_id: str | None) -> Json:
    error = {"type": kind, "message": message, "code": code, "details": {"error_code": code}}
    return {"type": "error", "error": error, "request_id": request_id}
