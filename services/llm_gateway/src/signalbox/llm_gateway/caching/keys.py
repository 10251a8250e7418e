"""What makes two calls the same: the key of an answer.

The body's canonical form is that of RFC 8785 (members sorted, no space) as Python writes it: it is compared with itself
only, and integers keep every digit, which RFC 8785 would refuse beyond 2^53.
"""

import hashlib
import json
from typing import Any

from signalbox.common.cache import key
from signalbox.llm_gateway.call import Call

WITHOUT_EFFECT = frozenset(
    {
        # How the answer is sent, not what it is. An answer is kept in one form for both.
        "stream",
        "stream_options",
        # Who asks and what for. OpenAI API reference: they find abuse and label stored completions.
        "user",
        "safety_identifier",
        "metadata",
        "store",
        # Where the provider keeps the prompt. Marks inside of messages (``cache_control``) do count.
        "prompt_cache_key",
        "prompt_cache_retention",
    }
)
"""Members of a request that do not change its answer. Every other one does, also one that nobody knows."""


class _Ambiguous(Exception):
    """An object has a member twice: readers differ in which one they take."""


def answer_key(call: Call) -> str | None:
    """The key under which the answer of a call is kept: of its tenant, and of everything that changes the answer.

    None for a body that two readers may understand differently.
    """
    canonical = canonical_form(call.body.raw)
    return None if canonical is None else _key("llm-answer", call, canonical)


def namespace_of(call: Call) -> tuple[str, str] | None:
    """What calls have in common that differ in the text of their last message only, and that text.

    None for a call whose last message is no text of the user's, or that may call tools.
    """
    fields = call.body.fields
    messages = fields.get("messages")
    if call.operation != "chat/completions" or not messages or fields.get("tools") or fields.get("functions"):
        return None
    text = _text_of(messages[-1])
    members = None if text is None else _members(call.body.raw)
    if text is None or members is None:
        return None
    members["messages"][-1]["content"] = None
    return _key("llm-semantic", call, _written(members, WITHOUT_EFFECT)), text


def _text_of(message: Any) -> str | None:
    if not isinstance(message, dict) or message.get("role") != "user":
        return None
    content = message.get("content")
    if isinstance(content, list) and all(
        isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)
        for part in content
    ):
        content = "\n".join(part["text"] for part in content)
    return content if isinstance(content, str) and content.strip() else None


def _key(kind: str, call: Call, canonical: bytes) -> str:
    circumstances = {
        "operation": call.operation,
        # Bodies that were translated lose different members on the way to a provider.
        "protocol": type(call.body).__name__,
        "deployments": sorted({deployment.name for deployment in call.plan.deployments}),
        "output_cap": call.output_cap,
    }
    digest = hashlib.sha256(json.dumps(circumstances, sort_keys=True).encode())
    digest.update(b"\0" + canonical)
    return key(kind, call.caller.principal.tenant, call.body.model, digest.hexdigest())


def canonical_form(raw: bytes, without: frozenset[str] = WITHOUT_EFFECT) -> bytes | None:
    """A JSON object with its members in order and without those named; None when it has no single meaning."""
    members = _members(raw)
    return None if members is None else _written(members, without)


def _members(raw: bytes) -> dict[str, Any] | None:
    try:
        members = json.loads(raw, object_pairs_hook=_unambiguous)
    except (_Ambiguous, RecursionError, ValueError):
        return None
    return members if isinstance(members, dict) else None


def _written(members: dict[str, Any], without: frozenset[str]) -> bytes:
    left = {name: value for name, value in members.items() if name not in without}
    return json.dumps(left, sort_keys=True, separators=(",", ":")).encode()


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _Ambiguous
    return members
