"""Going on with an answer whose stream broke, at a deployment that goes on from the beginning of one.

Sources: Anthropic, "Prefill Claude's response" (an assistant message at the end; no space at its end); Mistral,
"Prefix", and DeepSeek, "Chat Prefix Completion" (``prefix`` on that message); vLLM, "OpenAI-compatible server"
(``continue_final_message``).
"""

import logging
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
_CERTAIN = 24
"""Characters of a text that nobody writes twice by chance."""

_LOG = logging.getLogger(__name__)


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


class Repetition:
    """Leaves out what a model repeats that was to go on with a text and starts over instead.

    Only where that is certain: it gives the whole text once more, which is long and no repetition in itself. A model
    that starts over in other words cannot be told from one that goes on.
    """

    def __init__(self, text: str) -> None:
        repeats = text in (text + text)[1:-1]
        self._text = text if len(text) >= _CERTAIN and not repeats else ""
        self._held = ""
        self._decided = not self._text
        self.found = False
        """Whether the text was repeated."""

    def pass_on(self, text: str, *, last: bool) -> str:
        """What of ``text``, which comes next, goes on now; with ``last`` nothing is held back any more."""
        if self._decided:
            return text
        self._held += text
        self.found = self._held.startswith(self._text)
        self._decided = last or self.found or not self._text.startswith(self._held)
        if not self._decided:
            return ""
        passed, self._held = self._held, ""
        return passed[len(self._text) :] if self.found else passed


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
        self._repetition = Repetition(text)

    def pass_on(self, block: bytes) -> bytes:
        """See ``StreamRelay``; what the new stream begins with besides text is left out."""
        passed = super().pass_on(block)
        if self.done and (rest := self._fitted("", last=True)):
            # A provider that ends without a finish reason, while it was not clear whether it repeats the text.
            choices = [{"index": 0, "delta": {"content": rest}, "finish_reason": None}]
            passed = event({**self._envelope, "choices": choices}) + passed
        return passed if self.began else b""

    def _keep(self, sent: Sent, chunk: dict[str, Any]) -> None:
        for choice in chunk.get("choices") or ():
            delta = choice.get("delta") if isinstance(choice, dict) else None
            if not isinstance(delta, dict):
                continue
            delta.pop("role", None)
            last = choice.get("finish_reason") is not None
            text = delta.get("content")
            fitted = self._fitted(text if isinstance(text, str) else "", last=last)
            if fitted or isinstance(text, str):
                delta["content"] = fitted
        super()._keep(sent, chunk)

    def _fitted(self, text: str, *, last: bool) -> str:
        """What of ``text`` follows what the client has."""
        repeated = self._repetition.found
        text = self._repetition.pass_on(text, last=last)
        if self._repetition.found and not repeated:
            _LOG.warning("%s starts over what it should go on with; what it repeats is left out", self._name)
        if self._owes_space and text:
            # The space went to the client at the end of the broken stream, but not to this provider.
            text = text.lstrip()
            self._owes_space = False
        return text

    def _edited(self, block: bytes, data: bytes, chunk: dict[str, Any]) -> bytes:
        del block, data
        chunk = {**chunk, **self._envelope}
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
