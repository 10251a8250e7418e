"""A request of Anthropic's protocol as a chat request."""

from typing import Self

import orjson

from signalbox.common.record import record
from signalbox.llm_gateway.messages.body import MessagesBody
from signalbox.llm_gateway.messages.output_format import response_format
from signalbox.llm_gateway.messages.parts import Json
from signalbox.llm_gateway.messages.tools import tool_fields
from signalbox.llm_gateway.messages.turns import chat_messages
from signalbox.llm_gateway.protocol import RequestBody
from signalbox.llm_gateway.translation.nodes import Node

_PASSED = ("temperature", "top_p", "top_k")
_EFFORTS = {"low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}
_LOW_BUDGET = 4096
_MEDIUM_BUDGET = 16384
"""Thinking budgets, in tokens, below which the effort is low and medium: ours, there is no published relation."""


@record
class MessagesRequest:
    """What a call to ``/v1/messages`` asks for. ``chat`` is what the gateway does for it."""

    chat: MessagesBody
    stop_sequences: tuple[str, ...]
    shows_thinking: bool
    """Whether the caller asked for thoughts; those of a model that thinks unasked are left out."""

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Read a body. Members that the gateway does not know are left out.

        Raises:
            MalformedCall: it is no JSON object, or something in it cannot be served; the error names the place.
        """
        asked = RequestBody.parse(raw)
        body = Node(asked.fields)
        fields: Json = {
            "model": asked.model,
            **_prompt(body),
            "max_tokens": body.member("max_tokens").count(),
        }
        for name in _PASSED:
            if (value := asked.fields.get(name)) is not None:
                fields[name] = value
        stops = _stop_sequences(body)
        if stops:
            fields["stop"] = list(stops)
        user = _user(body)
        if user is not None:
            fields["user"] = user
        thinking = body.optional("thinking")
        fields.update(_effort(body, thinking))
        config = body.optional("output_config")
        if config is not None and (wanted := config.optional("format")) is not None:
            fields["response_format"] = response_format(wanted)
        if (stream := body.optional("stream")) is not None and stream.truth():
            fields |= {"stream": True, "stream_options": {"include_usage": True}}
        chat = MessagesBody(orjson.dumps(fields), fields, asked.model)
        return cls(chat, stops, _shows(thinking))

    @classmethod
    def parse_prompt(cls, raw: bytes) -> Json:
        """Messages and tools of a body whose tokens are to be counted. Raises as ``parse`` does."""
        return _prompt(Node(RequestBody.parse(raw).fields))


def _shows(thinking: Node | None) -> bool:
    if thinking is None or thinking.kind() == "disabled":
        return False
    return bool(thinking.mapping().get("display") != "omitted")


def _prompt(body: Node) -> Json:
    return {
        "messages": chat_messages(body.optional("system"), body.member("messages")),
        **tool_fields(body),
    }


def _stop_sequences(body: Node) -> tuple[str, ...]:
    stops = body.optional("stop_sequences")
    return () if stops is None else tuple(item.text() for item in stops.items())


def _user(body: Node) -> str | None:
    metadata = body.optional("metadata")
    user = None if metadata is None else metadata.optional("user_id")
    return None if user is None else user.text()


def _effort(body: Node, thinking: Node | None) -> Json:
    """How much to think: ``reasoning_effort``, and ``thinking`` itself for providers that know it."""
    fields: Json = {}
    if thinking is not None:
        fields["thinking"] = thinking.mapping()
        if thinking.kind() == "enabled":
            budget = thinking.member("budget_tokens").count()
            low_or_medium = "low" if budget < _LOW_BUDGET else "medium"
            fields["reasoning_effort"] = low_or_medium if budget < _MEDIUM_BUDGET else "high"
    config = body.optional("output_config")
    effort = None if config is None else config.optional("effort")
    if effort is not None:
        if effort.text() not in _EFFORTS:
            raise effort.wrong(f"must be one of {', '.join(_EFFORTS)}")
        fields["reasoning_effort"] = _EFFORTS[effort.text()]
    return fields
