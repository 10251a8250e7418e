"""Results of tools made short: what a later question needs of them (ids, names, numbers, states) before what is long.

It is done by rule, so that the same result is always the same bytes: a prompt that has it can be cached.
"""

from typing import Any

import orjson

from signalbox.common.record import record
from signalbox.common.text_sizes import clipped, tokens_of
from signalbox.skills.untrusted import as_data

_KEY = "shortened"


@record
class _Measure:
    """How much is left: characters of a text, items of a list, members of an object, and levels."""

    chars: int
    items: int
    members: int
    depth: int


_MEASURES = (
    _Measure(chars=200, items=20, members=60, depth=8),
    _Measure(chars=80, items=8, members=30, depth=6),
    _Measure(chars=40, items=4, members=16, depth=5),
    _Measure(chars=24, items=2, members=8, depth=3),
)


def shortened(content: str, tokens: int) -> str:
    """A result, JSON as a model was shown it, within about so many tokens; as it is where it fits.

    What was left out is named where it was. A result that is long in every way is cut as text.
    """
    if tokens_of(content) <= tokens:
        return content
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        return as_data({_KEY: clipped(content, tokens)})
    if isinstance(value, dict) and value.keys() == {_KEY}:
        value = value[_KEY]
    for measure in _MEASURES:
        text = as_data({_KEY: _within(value, measure, measure.depth)})
        if tokens_of(text) <= tokens:
            return text
    return as_data({_KEY: clipped(content, tokens)})


def _within(value: Any, measure: _Measure, depth: int) -> Any:
    if isinstance(value, str):
        over = len(value) - measure.chars
        return value if over <= 0 else f"{value[: measure.chars]}... ({over} more characters)"
    if isinstance(value, list):
        if depth == 0:
            return f"({len(value)} items)"
        kept = [_within(item, measure, depth - 1) for item in value[: measure.items]]
        over = len(value) - measure.items
        return kept if over <= 0 else [*kept, f"({over} more items)"]
    if isinstance(value, dict):
        if depth == 0:
            return f"({len(value)} members)"
        names = list(value)[: measure.members]
        told = {name: _within(value[name], measure, depth - 1) for name in names}
        over = len(value) - measure.members
        return told if over <= 0 else {**told, "...": f"({over} more members)"}
    return value
