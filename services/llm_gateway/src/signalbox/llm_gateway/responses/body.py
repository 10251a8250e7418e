"""The chat request that a response asks for, in the words that each provider knows."""

from typing import Any

from signalbox.common.record import record
from signalbox.llm_gateway.protocol import Extensions
from signalbox.llm_gateway.translation.body import WrittenBody

OPENAI_ONLY = ("prompt_cache_key", "safety_identifier", "service_tier", "verbosity")
"""Members of both of OpenAI's APIs that other providers refuse or do not know."""


@record
class ResponsesBody(WrittenBody):
    """A chat request with what OpenAI's own API has beyond what its protocol means elsewhere."""

    def adapted(self, fields: dict[str, Any], extensions: Extensions) -> dict[str, Any]:
        """See ``WrittenBody``. Only OpenAI itself does without extensions."""
        if not extensions:
            return fields
        return {name: value for name, value in fields.items() if name not in OPENAI_ONLY}
