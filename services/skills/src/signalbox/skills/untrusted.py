"""Text that is not ours (results of tools, passages, what subtasks said) as a model is shown it: JSON, which is data.

Who may do what is not decided by words: a tool that is not offered is denied whoever asks for it (``tool_use``). What
is done here keeps text from posing as the frame around it: the marks with which chat templates of models set off roles,
which servers of open models may read as such inside of texts too, and characters that people do not see. Both are
written as JSON escapes, so that the value stays the same.

Sources of the marks: the chat templates published with ChatML, Llama 2 and 3, Mistral and Gemma models.
"""

import re
from typing import Any

import orjson

_POSING = re.compile(
    r"<\|[^<>|]{1,64}\|>|<</?SYS>>|\[/?(?:INST|SYSTEM_PROMPT|TOOL_RESULTS|AVAILABLE_TOOLS)\]"
    r"|</?s>|<(?:start|end)_of_turn>|<[bB][oO][sS]>|<[eE][oO][sS]>"
)
_UNSEEN = re.compile("[\U000e0000-\U000e007f\u200b\u202a-\u202e\u2060\u2066-\u2069]")


def as_data(value: Any) -> str:
    """A value as JSON that reads back as the same, with nothing in it that could pass for the end of the quote."""
    text = orjson.dumps(value, default=str).decode()
    text = _POSING.sub(lambda found: _escaped(found[0][0]) + found[0][1:], text)
    return text if text.isascii() else _UNSEEN.sub(lambda found: _escaped(found[0]), text)


def _escaped(char: str) -> str:
    """As JSON escapes it: UTF-16 units."""
    units = char.encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
