"""Errors in the shape of the OpenAI API: ``{"error": {"message", "type", "param", "code"}}``.

Source: OpenAI API reference, "Error codes"; the Python SDK chooses its exception class by the HTTP status.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from signalbox.common.errors import SignalboxError
from signalbox.llm_gateway.errors import ProviderRefused, UpstreamAccountSpent, UpstreamCredentialRefused
from signalbox.llm_gateway.protocol.refusals import codes_of, is_filtered, is_spent

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_PASSED_HEADERS = ("retry-after", "retry-after-ms")
_MAX_MESSAGE = 2000


def error_body(error: SignalboxError) -> tuple[int, bytes]:
    """Status and body of the answer to a call that failed with ``error``; ``code`` is ours."""
    problem = error.problem()
    param = next((item.pointer.lstrip("/").replace("/", ".") for item in problem.errors), None)
    kind = _TYPES.get(problem.status, "invalid_request_error" if problem.status < 500 else "server_error")
    message = problem.detail
    if len(problem.errors) > 1:
        message += " " + " ".join(f"{item.pointer}: {item.detail}" for item in problem.errors)
    if isinstance(error, ProviderRefused):
        param, kind = error.param, error.kind or kind
    body = {"error": {"message": message, "type": kind, "param": param, "code": problem.code}}
    return problem.status, orjson.dumps(body)


def provider_error(
    status: int, headers: Mapping[str, str], body: bytes, deployment_name: str
) -> ProviderRefused:
    """A provider's error answer as ours: status, message, type, code and ``Retry-After`` are kept.

    A refusal of the gateway's own credential, or for want of credit, is the operator's affair: what the provider says
    of it is for the log. (A 403 may also be a content filter's, which is the caller's.)
    """
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        parsed = None
    error = parsed.get("error", parsed) if isinstance(parsed, dict) else parsed
    fields: dict[str, Any] = error if isinstance(error, dict) else {"message": error}
    text = fields.get("message") or fields.get("detail")
    message = (text if isinstance(text, str) else f"The provider answered {status}.")[:_MAX_MESSAGE]
    passed = {
        name.title(): headers[name]
        for name in _PASSED_HEADERS
        # What a provider sends may be more than a header of ours can hold.
        if name in headers and headers[name].isascii() and headers[name].isprintable()
    }
    code = fields.get("code")
    codes = codes_of(code, fields.get("type"))
    if status in {401, 403} and not is_filtered(codes, message):
        return UpstreamCredentialRefused(status, deployment_name, message, headers=passed)
    if is_spent(status, codes):
        return UpstreamAccountSpent(status, deployment_name, message)
    return ProviderRefused(
        status if 400 <= status <= 599 else 502,
        message,
        provider_code=str(code) if isinstance(code, str | int) and code != "" else None,
        kind=_text(fields.get("type")),
        param=_text(fields.get("param")),
        headers=passed,
    )


def refusal_in(answer: Mapping[str, Any], deployment_name: str) -> ProviderRefused | None:
    """The error inside an answer of status 200, as some providers send it, whole or in a stream."""
    error = answer.get("error")
    if not error:
        return None
    code = error.get("code") if isinstance(error, dict) else None
    status = code if isinstance(code, int) and 400 <= code <= 599 else 502
    return provider_error(status, {}, orjson.dumps({"error": error}), deployment_name)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
