"""Messages of Anthropic's protocol as messages of OpenAI's.

A turn of the user that brings results of tools becomes one message per result, before what else the turn says;
results that are images follow in a message of the user, since a tool's message holds text alone. A turn of the
assistant is one message with its text and its tool calls; the last one, when it is the assistant's, is a prefill.
"""

from typing import Any

import orjson

from signalbox.llm_gateway.messages.parts import Json, block_parts, cached, merged, parts_of
from signalbox.llm_gateway.translation.nodes import Node

_THINKING = frozenset({"thinking", "redacted_thinking"})


def chat_messages(system: Node | None, messages: Node) -> list[Json]:
    """The chat messages of a request.

    Raises:
        MalformedCall: a message is not of the protocol, or has content that the gateway does not serve.
    """
    made: list[Json] = []
    if system is not None and (parts := parts_of(system)):
        made.append({"role": "system", "content": merged(parts)})
    turns = messages.items()
    if not turns:
        raise messages.wrong("needs at least one message")
    for turn in turns:
        content = turn.member("content")
        match turn.member("role").text():
            case "user":
                made += _user(content)
            case "assistant":
                made.append(_assistant(content))
            case "system":
                made.append({"role": "system", "content": merged(parts_of(content))})
            case _:
                raise turn.member("role").wrong("must be 'user' or 'assistant'")
    return made


def _user(content: Node) -> list[Json]:
    if isinstance(content.value, str):
        return [{"role": "user", "content": content.value}]
    results: list[Json] = []
    said: list[Json] = []
    for block in content.items():
        if block.kind() == "tool_result":
            result, shown = _tool_result(block)
            results.append(result)
            said += shown
        else:
            said += block_parts(block)
    if said or not results:
        results.append({"role": "user", "content": merged(said)})
    return results


def _tool_result(block: Node) -> tuple[Json, list[Json]]:
    """A result as a tool's message, and what of it a tool's message cannot hold."""
    call_id = block.member("tool_use_id").text()
    content = block.optional("content")
    parts = [] if content is None else parts_of(content)
    texts = [part for part in parts if part["type"] == "text"]
    shown = [part for part in parts if part["type"] != "text"]
    failed = block.optional("is_error")
    if failed is not None and failed.truth():
        # OpenAI's protocol has no mark for a failed call: the model must be able to read it.
        texts.insert(0, {"type": "text", "text": "The tool failed:"})
    if shown:
        texts.append({"type": "text", "text": f"(what else {call_id} returned follows in the next message)"})
        shown.insert(0, {"type": "text", "text": f"Returned by {call_id}:"})
    message = {"role": "tool", "tool_call_id": call_id, "content": _joined(texts)}
    return cached(message, block), shown


def _joined(texts: list[Json]) -> str | list[Json]:
    """Texts in one, unless one of them is marked for the provider's cache."""
    if any("cache_control" in part for part in texts):
        return texts
    return "\n".join(part["text"] for part in texts)


def _assistant(content: Node) -> Json:
    message: Json = {"role": "assistant"}
    if isinstance(content.value, str):
        return {**message, "content": content.value}
    said: list[Json] = []
    calls: list[Json] = []
    thoughts: list[Any] = []
    for block in content.items():
        kind = block.kind()
        if kind == "tool_use":
            calls.append(_tool_call(block))
        elif kind in _THINKING:
            if kind == "redacted_thinking" or block.mapping().get("signature"):
                thoughts.append(block.mapping())
        else:
            said += block_parts(block)
    message["content"] = merged(said) if said else None
    if calls:
        message["tool_calls"] = calls
    elif not said:
        message["content"] = ""
    if thoughts:
        # litellm's member for thoughts with the signature that Anthropic's models want back.
        message["thinking_blocks"] = thoughts
    return message


def _tool_call(block: Node) -> Json:
    arguments = orjson.dumps(block.member("input").mapping()).decode()
    function = {"name": block.member("name").text(), "arguments": arguments}
    return cached({"id": block.member("id").text(), "type": "function", "function": function}, block)
