"""Token counts in Anthropic's members, from those of OpenAI's protocol, and estimates of them."""

from typing import Any

from signalbox.llm_gateway.protocol import Tokens, estimated_tokens
from signalbox.llm_gateway.translation.estimates import estimated_input


def usage_of(reported: Any, prompt: dict[str, Any], answered_bytes: int) -> dict[str, Any]:
    """The ``usage`` of a message.

    Anthropic counts what was read from and written to the provider's cache beside ``input_tokens``, OpenAI within
    ``prompt_tokens``. Where a provider reports nothing, both totals are estimates from the chat request ``prompt``
    and the bytes of the answer.
    """
    tokens = Tokens.reported(reported) if isinstance(reported, dict) else None
    if tokens is None:
        tokens = Tokens(input=estimated_input(prompt), output=estimated_tokens(answered_bytes))
    fresh = tokens.input - tokens.cached - tokens.cache_write
    usage: dict[str, Any] = {
        "input_tokens": max(0, fresh),
        "cache_creation_input_tokens": tokens.cache_write,
        "cache_read_input_tokens": tokens.cached,
        "output_tokens": tokens.output,
    }
    if tokens.reasoning:
        usage["output_tokens_details"] = {"thinking_tokens": tokens.reasoning}
    return usage
