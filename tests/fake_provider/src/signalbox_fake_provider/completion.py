"""An answer in the shapes of the OpenAI chat completions API: one object, or the chunks of a stream."""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from signalbox_fake_provider.schema_example import example_of
from signalbox_fake_provider.script import Reply, Request, Rule, ToolCall
from signalbox_fake_provider.tokens import prompt_tokens, split_tokens, tokens_of


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer: what is said, and the figures that go with it.

    ``created`` is Unix time in seconds; ``usage`` is ``None`` when none is reported; ``pieces`` is the
    number of pieces that a stream cuts the content into, ``None`` for one a token.
    """

    id: str
    model: str
    created: int
    content: str | None
    tool_calls: tuple[ToolCall, ...]
    finish_reason: str
    usage: Mapping[str, Any] | None
    pieces: int | None = None

    def body(self) -> dict[str, Any]:
        """The answer to a request without ``stream``."""
        message: dict[str, Any] = {"role": "assistant", "content": self.content, "refusal": None}
        if self.tool_calls:
            message["tool_calls"] = [
                {**_call_head(call, self.id, index), "function": _function(call.name, call.arguments)}
                for index, call in enumerate(self.tool_calls)
            ]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self.finish_reason}
        body = {**self._envelope("chat.completion"), "choices": [choice]}
        return body if self.usage is None else {**body, "usage": self.usage}

    def opening(self) -> dict[str, Any]:
        """The first delta of a stream, which carries the role."""
        return {"role": "assistant", "content": None if self.content is None else "", "refusal": None}

    def deltas(self) -> Iterator[dict[str, Any]]:
        """The deltas between the role and the finish reason, in order; faults count these."""
        for piece in _cut(self.content or "", self.pieces):
            yield {"content": piece}
        for index, call in enumerate(self.tool_calls):
            head = {"index": index, **_call_head(call, self.id, index), "function": _function(call.name, "")}
            yield {"tool_calls": [head]}
            for piece in split_tokens(call.arguments):
                yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}

    def chunk(
        self, delta: Mapping[str, Any], finish_reason: str | None = None, *, with_usage: bool
    ) -> dict[str, Any]:
        """A chunk that carries ``delta``; ``with_usage`` says that the stream ends with a usage chunk."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        chunk = {**self._envelope("chat.completion.chunk"), "choices": [choice]}
        return {**chunk, "usage": None} if with_usage else chunk

    def usage_chunk(self) -> dict[str, Any]:
        """The extra chunk of ``stream_options.include_usage``: no choices."""
        return {**self._envelope("chat.completion.chunk"), "choices": [], "usage": self.usage}

    def _envelope(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": "fp_fake",
        }


def complete(request: Request, rule: Rule | None, number: int) -> Completion:
    """The answer to ``request`` by ``rule``, or by default; ``number`` makes the ids."""
    scripted = rule.reply if rule is not None else None
    reply = scripted.about(request.last_user) if scripted is not None else _default_reply(request)
    usual = "tool_calls" if reply.tool_calls else "stop"
    return Completion(
        id=f"chatcmpl-fake-{number}",
        model=str(request.body.get("model")),
        created=int(time.time()),
        content=reply.content,
        tool_calls=reply.tool_calls,
        finish_reason=reply.finish_reason or usual,
        usage=_usage(request, reply, True if rule is None else rule.usage),
        pieces=None if rule is None else rule.chunks,
    )


def _default_reply(request: Request) -> Reply:
    echo = f"echo: {request.last_user}"
    tool = _forced_tool(request.body)
    if tool is not None:
        arguments = example_of(tool.get("parameters") or {}, echo)
        return Reply(tool_calls=(ToolCall(str(tool.get("name")), json.dumps(arguments, ensure_ascii=False)),))
    wanted = request.body.get("response_format") or {}
    if wanted.get("type") == "json_object":
        return Reply(json.dumps({"echo": request.last_user}, ensure_ascii=False))
    if wanted.get("type") == "json_schema":
        schema = (wanted.get("json_schema") or {}).get("schema") or {}
        return Reply(json.dumps(example_of(schema, echo), ensure_ascii=False))
    return Reply(echo)


def _forced_tool(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    tools = [tool.get("function") or {} for tool in body.get("tools") or []]
    choice = body.get("tool_choice")
    if isinstance(choice, Mapping):
        name = (choice.get("function") or {}).get("name")
        return next((tool for tool in tools if tool.get("name") == name), None)
    return tools[0] if choice == "required" and tools else None


def _usage(request: Request, reply: Reply, wanted: Mapping[str, Any] | bool) -> dict[str, Any] | None:
    if wanted is False:
        return None
    answered = [
        reply.content or "",
        *(part for call in reply.tool_calls for part in (call.name, call.arguments)),
    ]
    usage: dict[str, Any] = {
        "prompt_tokens": prompt_tokens(request.body),
        "completion_tokens": sum(tokens_of(text) for text in answered),
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
        **(wanted if isinstance(wanted, Mapping) else {}),
    }
    usage.setdefault("total_tokens", usage["prompt_tokens"] + usage["completion_tokens"])
    return usage


def _cut(text: str, pieces: int | None) -> list[str]:
    if not text or not pieces:
        return split_tokens(text)
    count = min(pieces, len(text))
    bounds = [len(text) * i // count for i in range(count + 1)]
    return [text[a:b] for a, b in pairwise(bounds)]


def _call_head(call: ToolCall, completion_id: str, index: int) -> dict[str, Any]:
    return {"id": call.id or f"call_{completion_id.rpartition('-')[2]}_{index}", "type": "function"}


def _function(name: str, arguments: str) -> dict[str, str]:
    return {"name": name, "arguments": arguments}
