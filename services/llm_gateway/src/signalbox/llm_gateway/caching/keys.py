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
    if canonical is None:
        return None
    circumstances = {
        "operation": call.operation,
        # Bodies that were translated lose different members on the way to a provider.
        "protocol": type(call.body).__name__,
        "deployments": sorted({deployment.name for deployment in call.plan.deployments}),
        "output_cap": call.output_cap,
    }
    digest = hashlib.sha256(json.dumps(circumstances, sort_keys=True).encode())
    digest.update(b"\0" + canonical)
    return key("llm-answer", call.caller.principal.tenant, call.body.model, digest.hexdigest())


def canonical_form(raw: bytes, without: frozenset[str] = WITHOUT_EFFECT) -> bytes | None:
    """A JSON object with its members in order and without those named; None when it has no single meaning."""
    try:
        fields = json.loads(raw, object_pairs_hook=_unambiguous)
        left = {name: value for name, value in fields.items() if name not in without}
        return json.dumps(left, sort_keys=True, separators=(",", ":")).encode()
    except (_Ambiguous, RecursionError, ValueError):
        return None


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _Ambiguous
    return members
