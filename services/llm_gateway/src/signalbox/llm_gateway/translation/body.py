"""Chat requests that the gateway writes itself."""

from typing import Any

import orjson

from signalbox.common.record import record
from signalbox.llm_gateway.protocol import COMMON_EXTENSIONS, Extensions, RequestBody, cap_name


@record
class WrittenBody(RequestBody):
    """A chat request with all that was asked for; what a provider does not know is left out on the way to it.

    Unlike a chat request of the caller's own, whose bytes go on, this one is the gateway's own, and a member that
    the provider refuses would be the gateway's fault. Its output cap is called ``max_tokens``.
    """

    def for_upstream(
        self,
        model: str,
        *,
        ask_usage: bool,
        extensions: Extensions = COMMON_EXTENSIONS,
        output_cap: int | None = None,
    ) -> bytes:
        """See ``RequestBody``. Streams ask for their usage wherever the provider can be asked."""
        fields = {**self.fields, "model": model}
        if not ask_usage:
            fields.pop("stream_options", None)
        if output_cap is not None and self.output_cap is None:
            fields["max_tokens"] = output_cap
        if "max_tokens" in fields:
            fields[cap_name(extensions)] = fields.pop("max_tokens")
        return orjson.dumps(self.adapted(fields, extensions))

    def adapted(self, fields: dict[str, Any], extensions: Extensions) -> dict[str, Any]:
        """``fields``, which may be changed at the top, without what a provider with ``extensions`` would refuse."""
        del extensions
        return fields
