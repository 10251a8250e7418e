"""The response object, as it is answered, streamed and kept."""

from typing import Any

from signalbox.common.errors import SignalboxError
from signalbox.common.ids import now_ms
from signalbox.llm_gateway.protocol import Tokens, estimated_tokens
from signalbox.llm_gateway.responses.request import ResponsesRequest
from signalbox.llm_gateway.translation.estimates import estimated_input

Json = dict[str, Any]

OVER = frozenset({"completed", "incomplete", "failed", "cancelled"})
"""The statuses that a response keeps."""


def response_id(call_id: str) -> str:
    """The id of the response of a call: a call that is replayed gives the same one."""
    return f"resp_{call_id.partition('_')[2] or call_id}"


def opened(identifier: str, request: ResponsesRequest, status: str) -> Json:
    """A response before anything is said in it."""
    return {
        "id": identifier,
        "object": "response",
        "created_at": now_ms() // 1000,
        "completed_at": None,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "output": [],
        "usage": None,
        **request.repeated,
    }


def ended(response: Json, finish_reason: Any) -> Json:
    """``response`` with the status that the chat's ``finish_reason`` means."""
    reasons = {"length": "max_output_tokens", "content_filter": "content_filter"}
    reason = reasons.get(str(finish_reason))
    if reason is not None:
        return {**response, "status": "incomplete", "incomplete_details": {"reason": reason}}
    return {**response, "status": "completed", "completed_at": now_ms() // 1000}


def failed(response: Json, error: SignalboxError) -> Json:
    """``response`` that ``error`` ended."""
    problem = error.problem()
    return {**response, "status": "failed", "error": {"code": problem.code, "message": problem.detail}}


def usage_of(reported: Any, prompt: Json, answered_bytes: int) -> Json:
    """The ``usage`` of a response.

    Where a provider reports nothing, both totals are estimates from the chat request ``prompt`` and the bytes of the
    answer.
    """
    tokens = Tokens.reported(reported) if isinstance(reported, dict) else None
    if tokens is None:
        tokens = Tokens(input=estimated_input(prompt), output=estimated_tokens(answered_bytes))
    return {
        "input_tokens": tokens.input,
        "input_tokens_details": {
            "cached_tokens": tokens.cached,
            "cache_write_tokens": tokens.cache_write,
        },
        "output_tokens": tokens.output,
        "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
        "total_tokens": tokens.input + tokens.output,
    }
