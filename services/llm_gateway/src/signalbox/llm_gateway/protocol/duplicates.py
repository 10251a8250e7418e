"""Members that an object has twice: which of them counts is each reader's own choice (RFC 8259, section 4).

What is checked and reserved for a call is read from the last one, and what goes on to the provider are the caller's
bytes. A member that we act on may therefore be there once.
"""

import re
from collections import Counter
from typing import Any

import orjson

from signalbox.llm_gateway.protocol.spans import top_level_members

_ACTED_ON = frozenset(
    {
        "input", "logprobs", "max_completion_tokens", "max_tokens", "messages", "modalities", "model", "n",
        "response_format", "stream", "stream_options", "tool_choice", "tools", "user",
    }
)  # fmt: skip
_QUOTED = {name: b'"%b"' % name.encode() for name in _ACTED_ON}
_ESCAPED_LETTER = re.compile(rb"\\u00[4-7]")
"""No encoder writes a letter or an underscore so, but a name may be hidden in it."""


def repeated_member(raw: bytes, fields: dict[str, Any]) -> str | None:
    """The name of a member that we act on and that the object ``raw``, which was read as ``fields``, has twice.

    Bytes that are what we would write ourselves have no member twice, which is quickly seen: most clients do so too.
    Else each name is looked for; only where one is there twice, maybe inside of something else, is the object read.
    """
    if orjson.dumps(fields) == raw or not _may_repeat(raw, fields):
        return None
    names = Counter(member.name for member in top_level_members(raw))
    return next((name for name, count in names.items() if count > 1 and name in _ACTED_ON), None)


def _may_repeat(raw: bytes, fields: dict[str, Any]) -> bool:
    for name in fields:
        quoted = _QUOTED.get(name)
        if quoted is not None and raw.count(quoted) > 1:
            return True
    return _ESCAPED_LETTER.search(raw) is not None
