"""Attributes of a span of an attempt, by OpenTelemetry's semantic conventions for generative AI (1.42)."""

from urllib.parse import urlsplit

from opentelemetry.util.types import AttributeValue

from signalbox.llm_gateway.deployments import Deployment
from signalbox.llm_gateway.records import LedgerAttempt

_PROVIDERS = {
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "vertex_ai": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "xai": "x_ai",
}
"""Providers that the conventions have another name for than litellm and we."""


def provider_name(provider: str) -> str:
    """``gen_ai.provider.name`` of one of our providers."""
    return _PROVIDERS.get(provider, provider)


def attributes_of_request(kind: str, deployment: Deployment, *, streamed: bool) -> dict[str, AttributeValue]:
    """What is known when an attempt begins; ``kind`` is chat or embeddings."""
    attributes: dict[str, AttributeValue] = {
        "gen_ai.operation.name": kind,
        "gen_ai.provider.name": provider_name(deployment.provider),
        "gen_ai.request.model": deployment.provider_model,
    }
    if streamed:
        attributes["gen_ai.request.stream"] = True
    address = urlsplit(deployment.url or "")
    if address.hostname:
        attributes["server.address"] = address.hostname
        attributes["server.port"] = address.port or (443 if address.scheme == "https" else 80)
    return attributes


def attributes_of_answer(row: LedgerAttempt, first_chunk_s: float | None) -> dict[str, AttributeValue]:
    """What is known when it is over; ``first_chunk_s`` of a streamed attempt."""
    tokens = row.tokens
    attributes: dict[str, AttributeValue] = {
        "gen_ai.usage.input_tokens": tokens.input,
        "gen_ai.usage.output_tokens": tokens.output,
    }
    parts = {
        "gen_ai.usage.cache_read.input_tokens": tokens.cached,
        "gen_ai.usage.cache_creation.input_tokens": tokens.cache_write,
        "gen_ai.usage.reasoning.output_tokens": tokens.reasoning,
    }
    attributes.update({name: count for name, count in parts.items() if count})
    if row.model_answered:
        attributes["gen_ai.response.model"] = row.model_answered
    if first_chunk_s is not None:
        attributes["gen_ai.response.time_to_first_chunk"] = first_chunk_s
    if row.outcome != "ok":
        attributes["error.type"] = row.error_code or row.outcome
    return attributes
