"""Which JSON schemas are right at a glance: most that people write for arguments need no more than this.

jsonschema takes longer to load than all such schemas of a workflow take to check, and a start would wait for it.
"""

from collections.abc import Callable, Mapping
from typing import Any

import re2

from signalbox.common.rules.pattern import options

_TYPES = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})
_MAX_NODES = 5_000
_MAX_DEPTH = 30


def is_plain(schema: Mapping[str, Any]) -> bool:
    """Whether ``schema`` surely passes ``arguments.compile_schema``.

    True: it is valid in draft 2020-12, RE2 takes its patterns, and it has no references, so that checking a value
    ends. False says nothing: a full check may find it right.
    """
    pending: list[tuple[Any, int]] = [(schema, 0)]
    nodes = 0
    while pending:
        node, depth = pending.pop()
        nodes += 1
        if nodes > _MAX_NODES or depth > _MAX_DEPTH:
            return False
        if isinstance(node, bool) and depth:
            continue
        if not isinstance(node, Mapping):
            return False
        for keyword, value in node.items():
            holds = _VALUES.get(keyword)
            if holds is not None:
                if not holds(value):
                    return False
                continue
            inner = _subschemas(keyword, value)
            if inner is None:
                return False
            pending += [(part, depth + 1) for part in inner]
    return True


def _subschemas(keyword: str, value: Any) -> list[Any] | None:
    """The schemas that a keyword holds; None if it is none of these keywords, or holds something else."""
    if keyword == "properties" and isinstance(value, Mapping):
        return list(value.values())
    if keyword in {"items", "additionalProperties", "not"}:
        return [value]
    if keyword in {"allOf", "anyOf", "oneOf"} and isinstance(value, list) and value:
        return value
    return None


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _is_pattern(value: Any) -> bool:
    try:
        return isinstance(value, str) and re2.compile(value, options(case_sensitive=True)) is not None
    except re2.error:
        return False


def _is_anything(_: Any) -> bool:
    return True


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value)) and len(set(value)) == len(value)


def _are_types(value: Any) -> bool:
    return (
        value in _TYPES
        if isinstance(value, str)
        else bool(value) and _are_names(value) and _TYPES.issuperset(value)
    )


_VALUES: Mapping[str, Callable[[Any], bool]] = {
    "type": _are_types,
    "required": _are_names,
    "enum": _is_list,
    "const": _is_anything,
    "default": _is_anything,
    "examples": _is_list,
    "pattern": _is_pattern,
    **dict.fromkeys(("title", "description", "$comment", "format"), _is_text),
    **dict.fromkeys(("uniqueItems", "deprecated", "readOnly", "writeOnly"), _is_flag),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _is_number),
    **dict.fromkeys(
        ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"), _is_count
    ),
}
"""Keywords whose value is no schema, and what it must be."""
