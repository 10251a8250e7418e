"""Chat completions that the gateway writes itself, whole or as the chunks of a stream.

Source: OpenAI API reference, "The chat completion object" and "The chat completion chunk object".
"""

import re
import time
from collections.abc import Iterator
from typing import Any

from signalbox.common.record import record
from signalbox.llm_gateway.protocol import DONE, Tokens, event

_PIECES = re.compile(r"[\u3000-\u9fff\uff00-\uffef]|\s*[^\s\u3000-\u9fff\uff00-\uffef]+|\s+")
"""Words with the space before them; single characters where a script has no spaces."""


@record
class Completion:
    """One answer; ``message`` is an assistant message with text or tool calls."""

    id: str
    model: str
    message: dict[str, Any]
    tokens: Tokens

    @property
    def finish_reason(self) -> str:
        """Why it ends here."""
        return "tool_calls" if self.message.get("tool_calls") else "stop"

    def body(self) -> dict[str, Any]:
        """The answer to a request that is not streamed."""
        choice = {"index": 0, "message": self.message, "logprobs": None, "finish_reason": self.finish_reason}
        return {**self._envelope("chat.completion"), "choices": [choice], "usage": self._usage()}

    def events(self, *, with_usage: bool = True, cost: str | None = None) -> Iterator[bytes]:
        """The events of a stream; ``cost`` is told on the chunk with the usage."""
        yield self._chunk({"role": "assistant", "content": None if self.message.get("tool_calls") else ""})
        for index, call in enumerate(self.message.get("tool_calls") or ()):
            yield self._chunk({"tool_calls": [{"index": index, **call}]})
        for piece in pieces_of(self.message.get("content") or ""):
            yield self._chunk({"content": piece})
        yield self._chunk({}, self.finish_reason)
        if with_usage:
            last = {**self._envelope("chat.completion.chunk"), "choices": [], "usage": self._usage()}
            yield event(last if cost is None else {**last, "signalbox_cost": cost})
        yield DONE

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return event({**self._envelope("chat.completion.chunk"), "choices": [choice]})

    def _envelope(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": int(time.time()), "model": self.model}

    def _usage(self) -> dict[str, int]:
        total = self.tokens.input + self.tokens.output
        return {
            "prompt_tokens": self.tokens.input,
            "completion_tokens": self.tokens.output,
            "total_tokens": total,
        }


def pieces_of(text: str) -> list[str]:
    """A text in the pieces in which a stream gives it; together they are the text."""
    return _PIECES.findall(text)
