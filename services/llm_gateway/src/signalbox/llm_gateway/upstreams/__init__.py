"""The kinds of providers: OpenAI-compatible servers, everything that litellm knows, and the demo model."""

from signalbox.llm_gateway.upstreams.compatible import CompatibleUpstream
from signalbox.llm_gateway.upstreams.http import ProviderHttp
from signalbox.llm_gateway.upstreams.litellm_sdk import LitellmUpstream

__all__ = ["CompatibleUpstream", "LitellmUpstream", "ProviderHttp"]
