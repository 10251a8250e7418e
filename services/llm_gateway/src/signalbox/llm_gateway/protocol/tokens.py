"""Token counts by kind, as providers report them, and an estimate where they do not.

Source: OpenAI API reference, "The completion object" (``usage``): ``prompt_tokens`` and ``completion_tokens``
are totals, the ``*_details`` are parts of them. litellm reports other providers the same way and adds
``cache_creation_tokens``; DeepSeek counts cached input as ``prompt_cache_hit_tokens``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

_BYTES_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of one attempt. ``input`` and ``output`` are totals; the other kinds are parts of them."""

    input: int = 0
    output: int = 0
    cached: int = 0
    """Of ``input``: read from the provider's prompt cache."""
    cache_write: int = 0
    """Of ``input``: written to the provider's prompt cache."""
    audio_input: int = 0
    audio_output: int = 0
    reasoning: int = 0
    """Of ``output``: thought, not shown."""

    @classmethod
    def reported(cls, usage: Mapping[str, Any]) -> Self:
        """From a ``usage`` object; a member that is missing or no count is zero."""
        prompt = _mapping(usage.get("prompt_tokens_details"))
        completion = _mapping(usage.get("completion_tokens_details"))
        return cls(
            input=_count(usage.get("prompt_tokens")),
            output=_count(usage.get("completion_tokens")),
            cached=_count(prompt.get("cached_tokens")) or _count(usage.get("prompt_cache_hit_tokens")),
            cache_write=_count(prompt.get("cache_creation_tokens")),
            audio_input=_count(prompt.get("audio_tokens")),
            audio_output=_count(completion.get("audio_tokens")),
            reasoning=_count(completion.get("reasoning_tokens")),
        )

    def __add__(self, other: "Tokens") -> "Tokens":
        return Tokens(
            input=self.input + other.input,
            output=self.output + other.output,
            cached=self.cached + other.cached,
            cache_write=self.cache_write + other.cache_write,
            audio_input=self.audio_input + other.audio_input,
            audio_output=self.audio_output + other.audio_output,
            reasoning=self.reasoning + other.reasoning,
        )


def estimated_tokens(size: int) -> int:
    """Tokens of ``size`` bytes of text: one for every four bytes, rounded up."""
    return -(-size // _BYTES_PER_TOKEN)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
