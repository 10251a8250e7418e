"""The completion that a stream's chunks add up to, as its clients would add them up.

Source: OpenAI API reference, "The chat completion chunk object"; texts are joined, tool calls by their index.
"""

from typing import Any

import orjson

from signalbox.llm_gateway.protocol import EventBlocks, data_of

Json = dict[str, Any]

_NOT_COPIED = frozenset({"choices", "object", "usage", "signalbox_cost"})
_SAID_ONCE = frozenset({"role", "id", "type", "name", "format", "signature"})
"""Texts that some providers repeat on every chunk."""


class Unassemblable(Exception):
    """A chunk does not continue what came before it; what the whole is cannot be said."""


class Assembly:
    """Adds up the bytes of one chat stream. ``size`` are the bytes that were fed so far."""

    def __init__(self) -> None:
        self.size = 0
        self._blocks = EventBlocks()
        self._members: Json = {}
        self._choices: dict[int, Json] = {}
        self._usage: Json | None = None
        self._done = False
        self._failed = False

    def feed(self, piece: bytes) -> None:
        """Take what came; after something that cannot be understood there is no completion any more."""
        self.size += len(piece)
        if self._failed:
            return
        try:
            for block in self._blocks.feed(piece):
                data = data_of(block)
                if data is not None:
                    self._take(data)
        except (Unassemblable, orjson.JSONDecodeError, TypeError, AttributeError, KeyError):
            self._failed = True

    def completion(self) -> Json | None:
        """The whole answer, once; None when the stream is not over, or has failed."""
        if not self._done or self._failed or not self._choices:
            return None
        self._failed = True
        whole = {**self._members, "object": "chat.completion"}
        whole["choices"] = [_finished(self._choices[index]) for index in sorted(self._choices)]
        if self._usage is not None:
            whole["usage"] = self._usage
        return whole

    def _take(self, data: bytes) -> None:
        if data == b"[DONE]":
            self._done = True
            return
        chunk = orjson.loads(data)
        if chunk.get("error"):
            raise Unassemblable
        self._members |= {name: value for name, value in chunk.items() if name not in _NOT_COPIED}
        if isinstance(chunk.get("usage"), dict):
            self._usage = chunk["usage"]
        for choice in chunk.get("choices") or ():
            self._add_choice(choice)

    def _add_choice(self, choice: Json) -> None:
        index = choice.get("index", 0)
        whole = self._choices.setdefault(
            index, {"index": index, "message": {"role": "assistant", "content": None}, "logprobs": None}
        )
        for name, value in choice.items():
            if name == "delta":
                _merge(whole["message"], value or {})
            elif name == "logprobs" and value is not None:
                whole["logprobs"] = whole["logprobs"] or {}
                _merge(whole["logprobs"], value)
            elif value is not None and name != "index":
                whole[name] = value


def _merge(whole: Json, delta: Json) -> None:
    for name, value in delta.items():
        before = whole.get(name)
        if value is None or before is None:
            whole[name] = before if value is None else _begun(value)
        elif isinstance(before, str) and isinstance(value, str):
            whole[name] = before if name in _SAID_ONCE else before + value
        elif isinstance(before, list) and isinstance(value, list):
            _merge_items(before, value)
        elif isinstance(before, dict) and isinstance(value, dict):
            _merge(before, value)
        elif type(before) is type(value):
            whole[name] = value
        else:
            raise Unassemblable


def _begun(value: Any) -> Any:
    if isinstance(value, list):
        begun: list[Any] = []
        _merge_items(begun, value)
        return begun
    return dict(value) if isinstance(value, dict) else value


def _merge_items(before: list[Any], items: list[Any]) -> None:
    """Items with an ``index`` continue the one that has it; others follow."""
    for item in items:
        index = item.get("index") if isinstance(item, dict) else None
        same = next((one for one in before if isinstance(one, dict) and one.get("index") == index), None)
        if index is None or same is None:
            before.append(_begun(item))
        else:
            _merge(same, item)


def _finished(choice: Json) -> Json:
    message = choice["message"]
    calls = message.get("tool_calls")
    if calls is None:
        return choice
    ordered = sorted(calls, key=lambda call: call.get("index") or 0)
    plain = [{name: value for name, value in call.items() if name != "index"} for call in ordered]
    return {**choice, "message": {**message, "tool_calls": plain}}
