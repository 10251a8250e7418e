"""A chat completion as a message of Anthropic's protocol."""

from typing import Any

import orjson

from signalbox.contracts import headers as names
from signalbox.llm_gateway.answers import WholeAnswer
from signalbox.llm_gateway.errors import AnswerInvalid, ProviderBroke
from signalbox.llm_gateway.messages.request import MessagesRequest
from signalbox.llm_gateway.messages.usage import usage_of

Json = dict[str, Any]

_STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}


def message_id(call_id: str) -> str:
    """The id of the message of a call: a call that is replayed gives the same one."""
    return f"msg_{call_id.partition('_')[2] or call_id}"


def whole_message(answer: WholeAnswer, request: MessagesRequest) -> WholeAnswer:
    """The message of a whole chat completion, under the same headers.

    Raises:
        ProviderBroke: the completion holds no message.
        AnswerInvalid: the model called a tool with something that is no JSON object.
    """
    completion = orjson.loads(answer.body)
    choices = completion.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    said = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(said, dict):
        raise ProviderBroke("The provider answered without a message; try again, or another model.")
    finish = choice.get("finish_reason")
    content = _content(said, request, cut=finish == "length")
    called = any(block["type"] == "tool_use" for block in content)
    reason, sequence = stop_of(
        choice, request.stop_sequences, called=called, refused=bool(said.get("refusal"))
    )
    message = opening(message_id(answer.headers.get(names.LEDGER_CALL_ID, "")), completion.get("model"))
    message |= {
        "content": content,
        "stop_reason": reason,
        "stop_sequence": sequence,
        "usage": usage_of(completion.get("usage"), request.chat.fields, len(orjson.dumps(content))),
    }
    return WholeAnswer(orjson.dumps(message), answer.headers)


def opening(identifier: str, model: Any) -> Json:
    """A message before anything is said in it."""
    return {
        "id": identifier,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def stop_of(
    choice: Json, stop_sequences: tuple[str, ...], *, called: bool, refused: bool
) -> tuple[str, str | None]:
    """``stop_reason`` and ``stop_sequence``.

    OpenAI's protocol does not say which stop sequence ended a text; vLLM does, as ``stop_reason`` of the choice.
    A model that was made to call a tool ends with ``stop`` at some providers.
    """
    reason = _STOP_REASONS.get(str(choice.get("finish_reason")), "end_turn")
    if reason != "end_turn":
        return reason, None
    if refused:
        return "refusal", None
    if called:
        return "tool_use", None
    sequence = choice.get("stop_reason")
    if isinstance(sequence, str) and sequence in stop_sequences:
        return "stop_sequence", sequence
    return reason, None


def _content(said: Json, request: MessagesRequest, *, cut: bool) -> list[Json]:
    blocks = _thoughts(said) if request.shows_thinking else []
    for name in ("content", "refusal"):
        text = said.get(name)
        if isinstance(text, str) and text:
            blocks.append({"type": "text", "text": text})
    for number, call in enumerate(said.get("tool_calls") or ()):
        block = tool_block(call, number)
        arguments = (call.get("function") or {}).get("arguments")
        blocks.append({**block, "input": _input(arguments, block["name"], cut=cut)})
    return blocks


def tool_block(call: Json, number: int) -> Json:
    """The beginning of the block for a tool call; one without an id gets its ``number`` in the answer as one."""
    function = call.get("function") or {}
    identifier = call.get("id") or f"call_{number}"
    return {"type": "tool_use", "id": identifier, "name": function.get("name") or "", "input": {}}


def _thoughts(said: Json) -> list[Json]:
    """Thoughts: litellm keeps Anthropic's blocks, other providers give a text."""
    kept = said.get("thinking_blocks")
    if isinstance(kept, list) and kept:
        return [block for block in kept if isinstance(block, dict)]
    text = said.get("reasoning_content") or said.get("reasoning")
    if isinstance(text, str) and text:
        return [{"type": "thinking", "thinking": text, "signature": ""}]
    return []


def _input(arguments: Any, name: str, *, cut: bool) -> Json:
    try:
        found = orjson.loads(arguments or "{}")
    except orjson.JSONDecodeError:
        found = None
    if isinstance(found, dict):
        return found
    if cut:
        # The output cap ended the answer within the arguments; ``max_tokens`` says that the call is not whole.
        return {}
    raise AnswerInvalid(
        f"The model called '{name}' with arguments that are no JSON object; try again, or another model."
    )
