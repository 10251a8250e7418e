"""One real call per role, to learn what its model can do: text, tools, JSON, embeddings."""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import orjson

from signalbox.common.record import record
from signalbox.contracts import headers as names
from signalbox.contracts.llm import ModelList

_TOOL = {
    "type": "function",
    "function": {
        "name": "get_order",
        "description": "Look up an order's status by its number.",
        "parameters": {
            "type": "object",
            "properties": {"order_number": {"type": "integer", "description": "The order's number."}},
            "required": ["order_number"],
        },
    },
}
_SCHEMA = {
    "type": "object",
    "properties": {
        "intent": {"type": "string", "enum": ["order_status", "return_order", "none"]},
        "confidence": {"type": "number"},
    },
    "required": ["intent", "confidence"],
    "additionalProperties": False,
}
_JSON_PROMPT = (
    "Name the intent of the user's message.\n"
    "- order_status: The customer wants to know where an order is.\n"
    "- return_order: The customer wants to send something back."
)
_QUESTION = "Where is my order 1042?"


class Gateway(Protocol):
    """A running gateway."""

    async def models(self) -> ModelList:
        """What ``GET /llm/v1/models`` answers."""
        ...

    async def call(self, path: str, body: Mapping[str, Any]) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers (lower-case names) and body of the answer to a POST under ``/llm/v1``."""
        ...


@record
class Finding:
    """What one check found. ``ok`` None: there was nothing to check."""

    role: str
    model: str
    check: str
    ok: bool | None
    took_ms: int
    note: str


async def examine(gateway: Gateway) -> list[Finding]:
    """Check the default model of each role with the calls that the role is for."""
    listing = await gateway.models()
    findings = []
    plan: list[tuple[str, str, Callable[[Gateway, str], Awaitable[tuple[bool, str]]]]] = [
        ("match", "json", _json),
        ("decide", "json", _json),
        ("answer", "text", _text),
        ("answer", "tools", _tools),
        ("embed", "embeddings", _embeddings),
    ]
    for role, name, check in plan:
        model = listing.roles.get(role)
        if model is None:
            why = listing.role_reasons.get(role, "no model has this role")
            findings.append(Finding(role, "-", name, None, 0, why))
            continue
        started = time.monotonic()
        ok, note = await check(gateway, model)
        took = int((time.monotonic() - started) * 1000)
        findings.append(Finding(role, model, name, ok, took, note))
    return findings


async def _text(gateway: Gateway, model: str) -> tuple[bool, str]:
    body = {"model": model, "messages": [{"role": "user", "content": "Say hello in one short sentence."}]}
    message, failure, _ = await _chat(gateway, body)
    if failure is not None:
        return False, failure
    text = str(message.get("content") or "").strip()
    return (True, text[:60]) if text else (False, "the answer has no text")


async def _tools(gateway: Gateway, model: str) -> tuple[bool, str]:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": f"{_QUESTION} Look it up with the tool."}],
        "tools": [_TOOL],
    }
    message, failure, emulated = await _chat(gateway, body)
    if failure is not None:
        return False, failure
    calls = message.get("tool_calls") or []
    try:
        arguments = orjson.loads(calls[0]["function"]["arguments"])
    except (IndexError, KeyError, TypeError, orjson.JSONDecodeError):
        return False, (
            'it calls no tools; set capabilities {"tools": false} on its deployment, and the gateway prompts for them'
        )
    if arguments.get("order_number") != 1042:
        return False, f"it calls the tool with wrong arguments: {orjson.dumps(arguments).decode()[:60]}"
    return True, _how(emulated, "called get_order(1042)")


async def _json(gateway: Gateway, model: str) -> tuple[bool, str]:
    body = {
        "model": model,
        "messages": [{"role": "system", "content": _JSON_PROMPT}, {"role": "user", "content": _QUESTION}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "intent", "schema": _SCHEMA}},
    }
    message, failure, emulated = await _chat(gateway, body)
    if failure is not None:
        return False, failure
    try:
        intent = orjson.loads(message.get("content") or "")["intent"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return False, (
            'it does not answer in JSON; set capabilities {"json": false} on its deployment, '
            "and the gateway prompts for it"
        )
    if intent != "order_status":
        return False, f"it answers in JSON, but understood '{intent}' instead of 'order_status'"
    return True, _how(emulated, "understood order_status")


async def _embeddings(gateway: Gateway, model: str) -> tuple[bool, str]:
    status, _, content = await gateway.call("/embeddings", {"model": model, "input": _QUESTION})
    if status != 200:
        return False, _failure(status, content)
    try:
        vector = orjson.loads(content)["data"][0]["embedding"]
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError):
        return False, "the answer has no embedding"
    return True, f"{len(vector)} dimensions"


async def _chat(gateway: Gateway, body: Mapping[str, Any]) -> tuple[dict[str, Any], str | None, str | None]:
    """The message, or else what failed; and what the gateway did in the model's place."""
    status, headers, content = await gateway.call("/chat/completions", body)
    if status != 200:
        return {}, _failure(status, content), None
    try:
        message = orjson.loads(content)["choices"][0]["message"]
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError):
        return {}, "the answer has no message", None
    return message, None, headers.get(names.LLM_EMULATED)


def _failure(status: int, content: bytes) -> str:
    try:
        return f"{status}: {orjson.loads(content)['error']['message']}"
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return f"the gateway answered {status}"


def _how(emulated: str | None, note: str) -> str:
    if emulated is None:
        return note
    lacks = emulated.replace("json_mode", "JSON mode").replace(",", " and ")
    return f"{note}; the model has no {lacks} of its own, the gateway prompts for it"
