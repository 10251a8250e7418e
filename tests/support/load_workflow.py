"""The workflow that load is sent to, the model that its agent asks, and the messages that each kind of turn has."""

from enum import Enum
from typing import Any

from support.keyed_backend import KeyedBackend

WORKFLOW_ID = "load"
_WHAT = {
    "type": "object",
    "properties": {"what": {"type": "string"}},
    "required": ["what"],
    "additionalProperties": False,
}


class Kind(Enum):
    """What a turn of the load does, and how it is asked; the value is the first word of its message."""

    SAY = "say"
    """A rule and its reply."""
    WRITE = "write"
    """A flow that writes, with a tool that may be repeated under its key."""
    AGENT = "agent"
    """A skill whose model calls a tool that writes and must not be repeated."""
    STREAM = "stream"
    """A flow that writes, streamed; the client loses the stream after its first event and resumes it."""
    ASYNC = "async"
    """A flow that writes, as an async query."""

    @property
    def writes(self) -> bool:
        """Whether a turn of this kind has an effect at the backend."""
        return self is not Kind.SAY


def load_document(backend_url: str) -> dict[str, Any]:
    """The workflow's document; its tools write to the backend."""
    flow = {"flow": "write"}
    targets: dict[Kind, dict[str, Any]] = {
        Kind.SAY: {"reply": "You said {{ parameters.what }}."},
        Kind.WRITE: flow,
        Kind.AGENT: {"skill": "writer"},
        Kind.STREAM: flow,
        Kind.ASYNC: flow,
    }
    return {
        "workflow_id": WORKFLOW_ID,
        "name": "Load",
        "variables": {"backend": backend_url},
        "intents": [
            {
                "id": kind.value,
                "when": {"patterns": [f"^(?P<what>{kind.value}-[a-z0-9-]+)$"]},
                "then": then,
                "parameters": {"what": {"type": "text"}},
            }
            for kind, then in targets.items()
        ],
        "flows": [
            {
                "id": "write",
                "slots": [{"id": "what", "prompt": "What?"}],
                "steps": [
                    {
                        "type": "call",
                        "tool": "put",
                        "arguments": {"what": "{{ slots.what }}"},
                        "save_as": "done",
                    },
                    {"type": "reply", "text": "Written: {{ slots.what }}."},
                ],
            }
        ],
        "skills": [
            {
                "id": "writer",
                "mode": "agent",
                "description": "Writes.",
                "instructions": "Write what is said.",
                "tools": ["put_once"],
                "max_steps": 3,
            }
        ],
        "tools": [
            _tool("put", f"{backend_url}/keyed/{{{{ arguments.what }}}}", idempotent=True),
            _tool("put_once", f"{backend_url}/once/{{{{ arguments.what }}}}", idempotent=False),
        ],
        "llm": {"answer": {"model": "fake-model"}},
    }


def _tool(name: str, url: str, *, idempotent: bool) -> dict[str, Any]:
    return {
        "id": name,
        "description": "Writes something.",
        "effect": "write",
        "idempotent": idempotent,
        "parameters": _WHAT,
        "request": {"method": "POST", "url": url, "body": {}},
        "timeout_ms": 10_000,
    }


def model_rules() -> list[dict[str, Any]]:
    """The script of the fake provider: an agent's message is written, then answered with itself."""
    match = {"last_user_contains": f"{Kind.AGENT.value}-"}
    call = {"name": "put_once", "arguments": {"what": "{last_user}"}}
    return [
        {"match": {**match, "has_tool_result": False}, "reply": {"tool_calls": [call]}},
        {"match": {**match, "has_tool_result": True}, "reply": {"content": "Written: {last_user}."}},
    ]


def effects_of(backend: KeyedBackend) -> dict[str, int]:
    """How often each message's write was carried out.

    A write that may be repeated under its key counts once for each key, any other once for each request. The backend
    must honour keys.
    """
    keyed, once = "/keyed/", "/once/"
    counted = {
        path.removeprefix(keyed): times for path, times in backend.effects.items() if path.startswith(keyed)
    }
    for path, times in backend.requests.items():
        if path.startswith(once):
            counted[path.removeprefix(once)] = times
    return counted
