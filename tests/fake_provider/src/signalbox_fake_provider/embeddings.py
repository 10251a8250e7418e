"""Deterministic embedding vectors: texts that share words lie close together."""

import base64
import hashlib
import math
import re
import struct
from collections.abc import Mapping
from typing import Any

from signalbox_fake_provider.tokens import tokens_of

DEFAULT_DIMENSIONS = 256
_FEATURES_PER_WORD = 4
# Chinese, Japanese and Korean are written without spaces: each of their characters is a word.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")


def vector_of(text: str, dimensions: int = DEFAULT_DIMENSIONS) -> list[float]:
    """Vector of length 1 for ``text``: each word, ignoring case, adds to four places given by its hash."""
    vector = [0.0] * dimensions
    for word in _WORD.findall(text.lower()) or [""]:
        digest = hashlib.sha256(word.encode()).digest()
        for i in range(_FEATURES_PER_WORD):
            place, sign = struct.unpack_from(">IB", digest, 5 * i)
            vector[place % dimensions] += 1.0 if sign % 2 else -1.0
    norm = math.sqrt(sum(value * value for value in vector)) or 1.0
    return [value / norm for value in vector]


def embeddings_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to an embeddings request; lists of token numbers are embedded as their text."""
    texts = _inputs(body.get("input"))
    dimensions = body.get("dimensions") or DEFAULT_DIMENSIONS
    encode = _base64 if body.get("encoding_format") == "base64" else list
    count = sum(tokens_of(text) for text in texts)
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": encode(vector_of(text, dimensions))}
            for index, text in enumerate(texts)
        ],
        "model": body.get("model"),
        "usage": {"prompt_tokens": count, "total_tokens": count},
    }


def _inputs(value: object) -> list[str]:
    if isinstance(value, list) and value and not isinstance(value[0], int):
        return [item if isinstance(item, str) else " ".join(map(str, item)) for item in value]
    if isinstance(value, list):
        return [" ".join(map(str, value))]
    return [str(value or "")]


def _base64(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
