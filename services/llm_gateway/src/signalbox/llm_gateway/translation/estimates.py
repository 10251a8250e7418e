"""Tokens of a chat request before a provider has counted them."""

import re
from typing import Any

import orjson

from signalbox.llm_gateway.protocol import estimated_tokens

_TOKENS_PER_IMAGE = 1600
"""Source: Anthropic's guide "Vision": an image costs its pixels divided by 750, and is scaled down to at most
about 1,600 tokens."""

_INLINE_DATA = re.compile(rb'"data:image/[^"]*"')
_IMAGE = b'"type":"image_url"'


def estimated_input(prompt: dict[str, Any]) -> int:
    """Tokens of the messages and tools of a chat request.

    They are those of its bytes without images, and for each image as much as one may cost.
    """
    asked = {name: prompt[name] for name in ("messages", "tools") if name in prompt}
    document = orjson.dumps(asked)
    images = document.count(_IMAGE)
    return estimated_tokens(len(_INLINE_DATA.sub(b"", document))) + images * _TOKENS_PER_IMAGE
