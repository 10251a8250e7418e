"""What was said in an attempt, on its span: only where an operator switched it on, and redacted.

Source: OpenTelemetry semantic conventions for generative AI, ``gen_ai.input.messages`` and ``gen_ai.output.messages``:
messages with a role and parts, as JSON. Images, audio and files are named by their kind and not kept.
"""

import logging
from collections.abc import Iterator
from typing import Any

import orjson
from opentelemetry.trace import Span

from signalbox.llm_gateway.telemetry.redaction import redacted

_LOG = logging.getLogger(__name__)

MAX_TEXT = 8_000
"""Characters of one text that are kept."""

MAX_MESSAGES = 100
"""Messages of one request that are kept: the last ones."""

_BEYOND = 1_000
"""Characters that are looked at beyond those that are kept, so that no secret is cut before it is known for one."""


class Content:
    """The messages of one attempt: those sent, and what comes of its answer."""

    def __init__(self, sent: bytes) -> None:
        self._sent = sent
        self._choices: dict[int, _Choice] = {}

    def add(self, answer: dict[str, Any]) -> None:
        """A whole answer, or one more chunk of a stream."""
        for choice in _dicts(answer.get("choices")):
            index = choice.get("index")
            said = self._choices.setdefault(index if isinstance(index, int) else 0, _Choice())
            said.add(choice)

    def put_on(self, span: Span) -> None:
        """Set the attributes of a span."""
        try:
            body = orjson.loads(self._sent)
            messages = list(_dicts(body.get("messages")))[-MAX_MESSAGES:] if isinstance(body, dict) else []
            if messages:
                asked = [{"role": _text(part.get("role")), "parts": list(_parts(part))} for part in messages]
                span.set_attribute("gen_ai.input.messages", orjson.dumps(asked).decode())
            if self._choices:
                said = [self._choices[index].message() for index in sorted(self._choices)]
                span.set_attribute("gen_ai.output.messages", orjson.dumps(said).decode())
        except Exception:  # noqa: BLE001 - the call's books are kept whatever becomes of this
            _LOG.exception("what was said could not be put on a span")


class _Choice:
    """One of the answers, put together from its chunks."""

    def __init__(self) -> None:
        self._texts: dict[str, list[str]] = {}
        self._calls: dict[int, dict[str, str]] = {}
        self._reason: str | None = None

    def add(self, choice: dict[str, Any]) -> None:
        reason = choice.get("finish_reason")
        self._reason = reason if isinstance(reason, str) else self._reason
        said = choice.get("delta") or choice.get("message")
        if not isinstance(said, dict):
            return
        for name in ("reasoning_content", "content", "refusal"):
            if isinstance(text := said.get(name), str):
                self._texts.setdefault(name, []).append(text)
        for position, call in enumerate(_dicts(said.get("tool_calls"))):
            index = call.get("index", position)
            known = self._calls.setdefault(index if isinstance(index, int) else position, {})
            function = call.get("function")
            for name, value in (
                ("id", call.get("id")),
                *(function.items() if isinstance(function, dict) else ()),
            ):
                if isinstance(value, str):
                    known[name] = known.get(name, "") + value

    def message(self) -> dict[str, Any]:
        parts = [
            {"type": "reasoning" if name == "reasoning_content" else "text", "content": _kept("".join(texts))}
            for name, texts in self._texts.items()
            if any(texts)
        ]
        parts += [_call(call) for _, call in sorted(self._calls.items())]
        return {"role": "assistant", "parts": parts, "finish_reason": self._reason or ""}


def _parts(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The parts of a message in OpenAI's protocol."""
    content = message.get("content")
    if message.get("role") == "tool":
        text = content if isinstance(content, str) else orjson.dumps(content).decode()
        yield {
            "type": "tool_call_response",
            "id": _text(message.get("tool_call_id")),
            "response": _kept(text),
        }
        return
    if isinstance(content, str):
        yield {"type": "text", "content": _kept(content)}
    for part in _dicts(content):
        if isinstance(part.get("text"), str):
            yield {"type": "text", "content": _kept(part["text"])}
        else:
            yield {"type": _text(part.get("type"))}
    for call in _dicts(message.get("tool_calls")):
        function = call.get("function")
        yield _call({"id": _text(call.get("id")), **(function if isinstance(function, dict) else {})})


def _call(call: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "tool_call",
        "id": _text(call.get("id")),
        "name": _text(call.get("name")),
        "arguments": _kept(_text(call.get("arguments"))),
    }


def _kept(text: str) -> str:
    return redacted(text[: MAX_TEXT + _BEYOND])[:MAX_TEXT]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _dicts(value: Any) -> Iterator[dict[str, Any]]:
    return (item for item in value if isinstance(item, dict)) if isinstance(value, list) else iter(())
