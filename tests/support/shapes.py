"""What clients of the published guide rely on, transcribed from its table: names, types and allowed values.

Written by hand and on purpose not derived from the server's own models: a field renamed there fails here. More
fields than these may come; these stay.
"""

from typing import Any

Shape = Any
"""A type, a tuple of types, a frozenset of allowed values, ``[shape]``, or a mapping of names to shapes.

A name that ends with ``?`` may be absent; a value that may be null has ``None`` in its tuple.
"""

QUERY_STATUSES = frozenset({"success", "clarify", "waiting", "handoff", "closed", "degraded", "error"})
STAGES = frozenset({"rule", "example", "llm", "flow", "choice", "none"})

CHOICE = {"label": str, "value": str}
DECISION = {
    "stage": STAGES,
    "intent?": (str, None),
    "score?": (float, int, None),
    "took_us": int,
    "cached": bool,
}

QUERY_REPLY = {
    "session_id": str,
    "message": str,
    "status": QUERY_STATUSES,
    "turn_id": str,
    "parts?": [{"type": str}],
    "agent_id": str,
    "greeting?": (str, None),
    "reason?": (str, None),
    "decision?": DECISION,
    "language": str,
    "untranslated": [str],
    "trace_id?": (str, None),
}

MESSAGE = {
    "seq": int,
    "role": frozenset({"user", "assistant", "human_agent", "system"}),
    "text": str,
    "turn_id?": (str, None),
    "created_at": int,
}

SESSION = {
    "session_id": str,
    "agent_id": str,
    "workflow_state": {"config_hash": (str, None), "need_greeting": bool, "status": str},
    "message_count": int,
    "messages": [MESSAGE],
    "next_after": (int, None),
}

TURN = {
    "turn_id": str,
    "session_id": str,
    "seq": int,
    "status": frozenset({"running", "committed", "failed", "cancelled"}),
    "reply": (dict, None),
    "created_at": int,
    "committed_at": (int, None),
}

TASK_STATUSES = frozenset({"pending", "running", "success", "failed", "cancelled"})

TASK_ACCEPTED = {"task_id": str, "status": frozenset({"pending"}), "session_id": str}

TASK = {
    "task_id": str,
    "session_id": str,
    "status": TASK_STATUSES,
    "result": (dict, None),
    "error": (dict, None),
    "created_at": int,
    "finished_at": (int, None),
}

BATCH = {
    "batch_id": str,
    "status": frozenset({"running", "finished"}),
    "total": int,
    "progress": {"pending": int, "running": int, "success": int, "failed": int, "cancelled": int},
    "created_at": int,
    "finished_at": (int, None),
}

SCHEDULE = {
    "schedule_id": str,
    "name": str,
    "cron": str,
    "timezone": str,
    "message": str,
    "status": frozenset({"active", "paused"}),
    "next_run_at": (int, None),
    "last_run_at": (int, None),
    "last_task_id": (str, None),
    "created_at": int,
}

HEALTH = {"status": frozenset({"healthy"}), "config_hash": str, "sessions_count": int}

PROBLEM = {
    "type": str,
    "title": str,
    "status": int,
    "code": str,
    "detail": str,
    "errors?": [{"pointer": str, "code": str, "detail": str}],
    "request_id?": str,
    "instance?": str,
}

EVENTS = {
    "start": {"turn_id": str, "session_id": str, "workflow_id": str, "config_hash": str, "language": str},
    "intent": {
        "stage": STAGES,
        "intent?": (str, None),
        "score?": (float, int, None),
        "took_us": int,
        "cached": bool,
        "target": {
            "kind": frozenset({"flow", "skill", "tool", "action", "reply", "none"}),
            "id?": (str, None),
        },
        "parameters?": dict,
    },
    "tool_call": {"call_id": str, "tool": str, "arguments": dict},
    "tool_result": {"call_id": str, "tool": str, "ok": bool, "error?": (str, None), "took_ms": (float, int)},
    "text": {"delta": str},
    "usage": {"model": str, "input_tokens": int, "output_tokens": int, "currency": str},
    "complete": QUERY_REPLY,
    "error": PROBLEM,
}


def check(value: Any, shape: Shape, place: str = "$") -> None:
    """Raise AssertionError, naming the place, unless ``value`` has the ``shape``."""
    if isinstance(shape, dict):
        assert isinstance(value, dict), f"{place} is {value!r}, not an object"
        for name, inner in shape.items():
            key = name.removesuffix("?")
            if key in value:
                check(value[key], inner, f"{place}.{key}")
            else:
                assert name.endswith("?"), f"{place} has no {key!r}; it has {sorted(value)}"
    elif isinstance(shape, list):
        assert isinstance(value, list), f"{place} is {value!r}, not a list"
        for number, item in enumerate(value):
            check(item, shape[0], f"{place}[{number}]")
    elif isinstance(shape, frozenset):
        assert value in shape, f"{place} is {value!r}, not one of {sorted(shape)}"
    else:
        allowed = shape if isinstance(shape, tuple) else (shape,)
        # JSON tells true from 1; Python's isinstance does not.
        kind = None if value is None else type(value)
        assert kind in allowed, f"{place} is {value!r}, not {allowed}"
