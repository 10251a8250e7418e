"""The OpenAI protocol in bytes: request bodies, answers, event streams and errors."""

from signalbox.llm_gateway.protocol.error_shape import error_body, provider_error, refusal_in
from signalbox.llm_gateway.protocol.events import DONE, EventBlocks, data_of, event
from signalbox.llm_gateway.protocol.request_body import (
    COMMON_EXTENSIONS,
    Extension,
    Extensions,
    RequestBody,
    cap_name,
)
from signalbox.llm_gateway.protocol.spans import append_member, replace_members, replace_text
from signalbox.llm_gateway.protocol.tokens import MAX_TOKENS, Tokens, estimated_tokens

__all__ = [
    "COMMON_EXTENSIONS",
    "DONE",
    "MAX_TOKENS",
    "EventBlocks",
    "Extension",
    "Extensions",
    "RequestBody",
    "Tokens",
    "append_member",
    "cap_name",
    "data_of",
    "error_body",
    "estimated_tokens",
    "event",
    "provider_error",
    "refusal_in",
    "replace_members",
    "replace_text",
]
