"""Going on with an answer whose stream broke, at a deployment that goes on from the beginning of one.

Sources: Anthropic, "Prefill Claude's response" (an assistant message at the end; no space at its end); Mistral,
"Prefix", and DeepSeek, "Chat Prefix Completion" (``prefix`` on that message); vLLM, "OpenAI-compatible server"
(``continue_final_message``).
"""

from collections.abc import Callable
from typing import Any

import orjson

from signalbox.llm_gateway.accounting import AttemptAccount, CallAccount
from signalbox.llm_gateway.deployments import Deployment
from signalbox.llm_gateway.protocol import (
    RequestBody,
    Tokens,
    append_member,
    estimated_tokens,
    event,
    replace_members,
)
from signalbox.llm_gateway.relay import Sent, StreamRelay

_PREFIX_MARKED = frozenset({"mistral", "deepseek"})
_CAPS = ("max_tokens", "max_completion_tokens")


def can_be_continued(body: RequestBody) -> bool:
    """Whether an answer to this request may be put together from two: one choice, plain text, no probabilities."""
    fields = body.fields
    return fields.get("n") in {None, 1} and not fields.get("logprobs") and body.json_format is None


def with_prefill(sent: bytes, deployment: Deployment, text: str) -> bytes:
    """The request ``sent``, asking ``deployment`` to go on from ``text``.

    Its output cap, if it has one, is lowered by what was answered already.
    """
    fields = orjson.loads(sent)
    messages: list[dict[str, Any]] = fields["messages"]
    prefill: dict[str, Any] = {"role": "assistant", "content": text.rstrip()}
    last = messages[-1] if messages else {}
    if last.get("role") == "assistant" and isinstance(last.get("content"), str):
        # The caller has begun the answer itself.
        prefill = {**last, "content": (last["content"] + text).rstrip()}
        messages = messages[:-1]
    if deployment.provider in _PREFIX_MARKED:
        prefill["prefix"] = True
    edits = {"messages": orjson.dumps([*messages, prefill])}
    for name in _CAPS:
        cap = fields.get(name)
        if isinstance(cap, int):
            edits[name] = orjson.dumps(max(1, cap - estimated_tokens(len(text.encode()))))
    edited = replace_members(sent, edits)
    if deployment.provider == "vllm":
        edited = append_member(edited, "continue_final_message", b"true")
        edited = append_member(edited, "add_generation_prompt", b"false")
    return edited


class ContinuedRelay(StreamRelay):
    """A stream that goes on with another one's answer: under its id and model, without a role, usage summed."""

    def __init__(
        self,
        attempt: AttemptAccount,
        account: CallAccount,
        sent: Sent,
        *,
        wants_usage: bool,
        cost: Callable[[], str | None] | None,
    ) -> None:
        super().__init__(
            attempt,
            model=str(sent.envelope.get("model", "")),
            wants_usage=wants_usage,
            cost=cost,
            sent=sent,
        )
        self._envelope = dict(sent.envelope)
        self._before = account.used
        text = sent.text or ""
        self._owes_space = text != text.rstrip()

    def pass_on(self, block: bytes) -> bytes:
        """See ``StreamRelay``; what the new stream begins with besides text is left out."""
        passed = super().pass_on(block)
        return passed if self.began else b""

    def _edited(self, block: bytes, data: bytes, chunk: dict[str, Any]) -> bytes:
        del block, data
        chunk = {**chunk, **self._envelope}
        for choice in chunk.get("choices") or ():
            delta = choice.get("delta") if isinstance(choice, dict) else None
            if not isinstance(delta, dict):
                continue
            delta.pop("role", None)
            if self._owes_space and delta.get("content"):
                # The space went to the client at the end of the broken stream, but not to this provider.
                delta["content"] = delta["content"].lstrip()
                self._owes_space = False
        if isinstance(usage := chunk.get("usage"), dict):
            chunk["usage"] = _summed(usage, self._before)
            if self._cost is not None and self._wants_usage and (cost := self._cost()) is not None:
                chunk["signalbox_cost"] = cost
        return event(chunk)


def _summed(usage: dict[str, Any], before: Tokens) -> dict[str, Any]:
    """``usage`` with what the attempts before used."""
    counted = Tokens.reported(usage)
    if counted is None:
        return usage
    prompt, completion = counted.input + before.input, counted.output + before.output
    return {
        **usage,
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
