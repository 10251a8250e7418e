"""The chat request that a call to ``/v1/messages`` became, in the words that each provider knows."""

from typing import Any

from signalbox.common.record import record
from signalbox.llm_gateway.protocol import Extensions
from signalbox.llm_gateway.translation.body import WrittenBody


@record
class MessagesBody(WrittenBody):
    """A chat request with what Anthropic's protocol has beyond OpenAI's, where the provider knows it."""

    def adapted(self, fields: dict[str, Any], extensions: Extensions) -> dict[str, Any]:
        """See ``WrittenBody``."""
        if "top_k" not in extensions:
            fields.pop("top_k", None)
        if "thinking" in extensions:
            if "thinking" in fields:
                fields.pop("reasoning_effort", None)
        else:
            fields.pop("thinking", None)
            fields["messages"] = [_without(message, "thinking_blocks") for message in fields["messages"]]
        if "cache_control" not in extensions:
            fields["messages"] = [_unmarked(message) for message in fields["messages"]]
            if "tools" in fields:
                fields["tools"] = [_without(tool, "cache_control") for tool in fields["tools"]]
        return fields


def _unmarked(message: dict[str, Any]) -> dict[str, Any]:
    """A message without marks for the provider's cache; texts of it that they kept apart stay apart."""
    message = _without(message, "cache_control")
    for name in ("content", "tool_calls"):
        if isinstance(message.get(name), list):
            message = {**message, name: [_without(item, "cache_control") for item in message[name]]}
    return message


def _without(mapping: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if key != name} if name in mapping else mapping
