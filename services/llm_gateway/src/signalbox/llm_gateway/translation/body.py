"""Chat requests that the gateway writes itself."""

from dataclasses import dataclass
from typing import Any

import orjson

from signalbox.llm_gateway.protocol import COMMON_EXTENSIONS, Extensions, RequestBody


@dataclass(frozen=True, slots=True)
class WrittenBody(RequestBody):
    """A chat request with all that was asked for; what a provider does not know is left out on the way to it.

    Unlike a chat request of the caller's own, whose bytes go on, this one is the gateway's own, and a member that
    the provider refuses would be the gateway's fault. Its output cap is called ``max_tokens``.
    """

    def for_upstream(
        self, model: str, *, ask_usage: bool, extensions: Extensions = COMMON_EXTENSIONS
    ) -> bytes:
        """See ``RequestBody``. Streams ask for their usage wherever the provider can be asked."""
        fields = {**self.fields, "model": model}
        if not ask_usage:
            fields.pop("stream_options", None)
        if "max_tokens" not in extensions and "max_tokens" in fields:
            fields["max_completion_tokens"] = fields.pop("max_tokens")
        return orjson.dumps(self.adapted(fields, extensions))

    def adapted(self, fields: dict[str, Any], extensions: Extensions) -> dict[str, Any]:
        """``fields``, which may be changed at the top, without what a provider with ``extensions`` would refuse."""
        del extensions
        return fields
