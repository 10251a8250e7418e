"""Items of the Responses API: as they are kept, and as messages of a chat request."""

from typing import Any

from signalbox.common.ids import new_id
from signalbox.llm_gateway.responses.parts import chat_parts, merged
from signalbox.llm_gateway.translation.nodes import Node

Json = dict[str, Any]

_ID_PREFIXES = {"message": "msg", "function_call": "fc", "function_call_output": "fco", "reasoning": "rs"}
_ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
"""``developer`` is what OpenAI calls ``system`` for its newer models, and it takes either; other providers do not."""


def input_items(asked: Node) -> list[Json]:
    """The input of a request as items with ``type``, ``id`` and ``status``, as they are kept and listed.

    Raises:
        MalformedCall: it is neither a text nor a list of items that the gateway serves.
    """
    if isinstance(asked.value, str):
        part = {"type": "input_text", "text": asked.value}
        return [_kept("message", {"role": "user", "content": [part]})]
    items = [_item(item) for item in asked.items()]
    if not items:
        raise asked.wrong("needs at least one item")
    return items


def _item(item: Node) -> Json:
    kind = _kind(item)
    fields = item.mapping()
    if kind == "message" and isinstance(fields.get("content"), str):
        form = "output_text" if fields.get("role") == "assistant" else "input_text"
        fields = {**fields, "content": [{"type": form, "text": fields["content"]}]}
    return _kept(kind, fields)


def _kept(kind: str, fields: Json) -> Json:
    identifier = fields.get("id") or new_id(_ID_PREFIXES[kind])
    return {**fields, "id": identifier, "type": kind, "status": fields.get("status") or "completed"}


def _kind(item: Node) -> str:
    kind = item.optional("type")
    if kind is None:
        item.member("role")  # the only kind whose type may be left out
        return "message"
    if kind.text() == "item_reference":
        raise item.wrong("send the item itself, or name the response that has it in previous_response_id")
    if kind.text() not in _ID_PREFIXES:
        raise item.wrong(f"an item of type '{kind.text()}' is not served by this gateway")
    return kind.text()


def chat_messages(items: Node) -> list[Json]:
    """The chat messages of a list of items.

    Calls of functions are part of the assistant's message before them. What a tool's message cannot hold (images,
    files) follows the results in a message of the user. Reasoning items are left out: other models cannot read them.

    Raises:
        MalformedCall: an item is not of the protocol, or has content that the gateway does not serve.
    """
    turns = _Turns()
    for item in items.items():
        match _kind(item):
            case "message":
                turns.message(item)
            case "function_call":
                turns.call(item)
            case "function_call_output":
                turns.result(item)
    return turns.ended()


class _Turns:
    """Messages in the making."""

    def __init__(self) -> None:
        self._messages: list[Json] = []
        self._shown: list[Json] = []  # what the results so far hold beside text

    def message(self, item: Node) -> None:
        role = item.member("role")
        if role.text() not in _ROLES:
            raise role.wrong("must be user, assistant, system or developer")
        parts = chat_parts(item.member("content"))
        self._show()
        if role.text() == "assistant":
            if any(part["type"] != "text" for part in parts):
                raise item.wrong("the assistant's content must be text")
            self._messages.append({"role": "assistant", "content": "".join(part["text"] for part in parts)})
        else:
            self._messages.append({"role": _ROLES[role.text()], "content": merged(parts)})

    def call(self, item: Node) -> None:
        function = {"name": item.member("name").text(), "arguments": item.member("arguments").text()}
        call = {"id": item.member("call_id").text(), "type": "function", "function": function}
        self._show()
        if not self._messages or self._messages[-1]["role"] != "assistant":
            self._messages.append({"role": "assistant", "content": None})
        self._messages[-1].setdefault("tool_calls", []).append(call)

    def result(self, item: Node) -> None:
        call_id = item.member("call_id").text()
        parts = chat_parts(item.member("output"))
        texts = [part["text"] for part in parts if part["type"] == "text"]
        shown = [part for part in parts if part["type"] != "text"]
        if shown:
            texts.append(f"(what else {call_id} returned follows in the next message)")
            self._shown += [{"type": "text", "text": f"Returned by {call_id}:"}, *shown]
        self._messages.append({"role": "tool", "tool_call_id": call_id, "content": "\n".join(texts)})

    def ended(self) -> list[Json]:
        self._show()
        return self._messages

    def _show(self) -> None:
        if self._shown:
            self._messages.append({"role": "user", "content": self._shown})
            self._shown = []
