"""The chat request that a call to ``/v1/messages`` became, in the words that each provider knows."""

from dataclasses import dataclass
from typing import Any

import orjson

from signalbox.llm_gateway.protocol import COMMON_EXTENSIONS, Extensions, RequestBody


@dataclass(frozen=True, slots=True)
class MessagesBody(RequestBody):
    """A chat request with all that was asked for; what a provider does not know is left out on the way to it.

    Unlike a chat request of the caller's own, whose bytes go on, this one is the gateway's own, and a member that
    the provider refuses would be the gateway's fault.
    """

    def for_upstream(
        self, model: str, *, ask_usage: bool, extensions: Extensions = COMMON_EXTENSIONS
    ) -> bytes:
        """See ``RequestBody``. Streams ask for their usage wherever the provider can be asked."""
        fields = {**self.fields, "model": model}
        if not ask_usage:
            fields.pop("stream_options", None)
        if "max_tokens" not in extensions:
            fields["max_completion_tokens"] = fields.pop("max_tokens")
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
        return orjson.dumps(fields)


def _unmarked(message: dict[str, Any]) -> dict[str, Any]:
    """A message without marks for the provider's cache; texts of it that they kept apart stay apart."""
    message = _without(message, "cache_control")
    for name in ("content", "tool_calls"):
        if isinstance(message.get(name), list):
            message = {**message, name: [_without(item, "cache_control") for item in message[name]]}
    return message


def _without(mapping: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if key != name} if name in mapping else mapping
