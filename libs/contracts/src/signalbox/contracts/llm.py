"""The parts of the OpenAI chat completions protocol that Signalbox's own services use.

The gateway passes any further field through; these models are what our callers send and read.
Source: OpenAI API reference, "Chat Completions".
"""

from decimal import Decimal
from typing import Any, Literal

from pydantic import Field

from signalbox.contracts.base import EpochMs, PublicRequest, WireModel


class FunctionCall(WireModel):
    """The function that a model wants called; ``arguments`` is JSON text as the model wrote it."""

    name: str
    arguments: str = "{}"


class ToolCall(WireModel):
    """One requested call."""

    id: str
    type: Literal["function"] = "function"
    function: FunctionCall


class Message(WireModel):
    """One message of a chat."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str | list[dict[str, Any]] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    name: str | None = None


class Usage(WireModel):
    """Token counts of one call."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    prompt_tokens_details: dict[str, Any] | None = None
    prompt_cache_hit_tokens: int | None = None
    cache_read_input_tokens: int | None = None

    @property
    def cached_tokens(self) -> int:
        """Tokens of the prompt that the provider had kept: as OpenAI, DeepSeek or Anthropic counts them."""
        details = (self.prompt_tokens_details or {}).get("cached_tokens")
        for count in (details, self.prompt_cache_hit_tokens, self.cache_read_input_tokens):
            if isinstance(count, int) and count > 0:
                return count
        return 0


class ChatRequest(WireModel):
    """A chat completion request."""

    model: str
    messages: list[Message]
    tools: list[dict[str, Any]] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    stream: bool = False
    stream_options: dict[str, Any] | None = None


class ChatChoice(WireModel):
    """One answer."""

    index: int = 0
    message: Message
    finish_reason: str | None = None


class ChatReply(WireModel):
    """A chat completion."""

    id: str
    model: str
    choices: list[ChatChoice]
    usage: Usage | None = None


class Embedding(WireModel):
    """The vector of one input."""

    index: int = 0
    embedding: list[float]


class EmbeddingsReply(WireModel):
    """Vectors of several inputs. Source: OpenAI API reference, "Embeddings"."""

    model: str = ""
    data: list[Embedding]
    usage: Usage | None = None


class ModelInfo(WireModel):
    """A model that the gateway serves, and what it can do (null: not known)."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "signalbox"
    tools: bool | None = None
    json_mode: bool | None = None
    embeddings: bool | None = None
    context_window: int | None = None
    """Tokens of input and output together."""


class ModelList(WireModel):
    """``GET /llm/v1/models``."""

    object: Literal["list"] = "list"
    data: list[ModelInfo]
    roles: dict[str, str] = {}
    """The operator's default model of each role; a role without one is absent."""
    role_reasons: dict[str, str] = {}
    """Of every role, in a sentence: why this model, or why none."""


class UsageLine(WireModel):
    """What calls used that are alike in what the report is grouped by; that alone is not null."""

    day: str | None = None
    """ISO 8601 date, UTC."""
    model: str | None = None
    """The name that was asked for."""
    key_id: str | None = None
    """The API key; null also for calls without one."""
    workflow_id: str | None = None
    purpose: str | None = None
    calls: int
    failed_calls: int = 0
    """Of ``calls``, those without a whole answer: refused, timed out, broken off or left by the client."""
    input_tokens: int
    output_tokens: int
    currency: str | None = None
    cost: str | None = None
    """Decimal in ``currency``; null when no call of the line has a price. Unpriced calls are not in it."""
    corrections: str | None = None
    """Decimal in ``currency``: the part of ``cost`` that was added or, below zero, taken away afterwards."""
    unpriced_calls: int = 0
    estimated_calls: int = 0
    """Calls whose tokens the provider did not report."""


class CorrectUsageRequest(PublicRequest):
    """What a call cost more, or less, than the ledger says: for a price that was wrong, or not known."""

    call_id: str = Field(min_length=1, max_length=200)
    """``signalbox-llm-call-id`` of its answer."""
    cost: Decimal = Field(max_digits=18, decimal_places=12)
    """What is to be added to its cost; below zero: taken away."""
    currency: str = Field(default="USD", pattern=r"^[A-Z]{3}$")
    reason: str = Field(min_length=1, max_length=500)


class CorrectedUsage(WireModel):
    """A correction that was added."""

    correction_id: str


class UsageReport(WireModel):
    """``GET /llm/v1/usage``: the tenant's calls in sums, newest day first."""

    since: EpochMs
    lines: list[UsageLine]
