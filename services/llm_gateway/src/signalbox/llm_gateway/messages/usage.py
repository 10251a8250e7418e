"""Token counts in Anthropic's members, from those of OpenAI's protocol, and estimates of them."""

import re
from typing import Any

import orjson

from signalbox.llm_gateway.protocol import Tokens, estimated_tokens

_TOKENS_PER_IMAGE = 1600
"""Source: Anthropic's guide "Vision": an image costs its pixels divided by 750, and is scaled down to at most
about 1,600 tokens."""

_INLINE_DATA = re.compile(rb'"data:image/[^"]*"')
_IMAGE = b'"type":"image_url"'


def usage_of(reported: Any, prompt: dict[str, Any], answered_bytes: int) -> dict[str, Any]:
    """The ``usage`` of a message.

    Anthropic counts what was read from and written to the provider's cache beside ``input_tokens``, OpenAI within
    ``prompt_tokens``. Where a provider reports nothing, both totals are estimates from the chat request ``prompt``
    and the bytes of the answer.
    """
    if not isinstance(reported, dict):
        tokens = Tokens(input=estimated_input(prompt), output=estimated_tokens(answered_bytes))
    else:
        tokens = Tokens.reported(reported)
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


def estimated_input(prompt: dict[str, Any]) -> int:
    """Tokens of the messages and tools of a chat request.

    They are those of its bytes without images, and for each image as much as one may cost.
    """
    asked = {name: prompt[name] for name in ("messages", "tools") if name in prompt}
    document = orjson.dumps(asked)
    images = document.count(_IMAGE)
    return estimated_tokens(len(_INLINE_DATA.sub(b"", document))) + images * _TOKENS_PER_IMAGE
