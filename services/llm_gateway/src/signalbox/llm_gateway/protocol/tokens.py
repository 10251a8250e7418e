"""Token counts by kind, as providers report them, and an estimate where they do not.

Source: OpenAI API reference, "The completion object" (``usage``): ``prompt_tokens`` and ``completion_tokens``
are totals, the ``*_details`` are parts of them. litellm reports other providers the same way and adds
``cache_creation_tokens`` with its ``cache_creation_token_details``, and Anthropic's and Gemini's other parts; servers
that report Anthropic's members beside OpenAI's do so with the same totals. OpenRouter has ``cache_write_tokens``;
DeepSeek counts cached input as ``prompt_cache_hit_tokens``. xAI's ``completion_tokens`` are without its
``reasoning_tokens``, which ``total_tokens`` has.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Self

from signalbox.common.record import record

MAX_TOKENS = 10**9
"""The most that one report, or one request's cap of its output, may say: a thousand times what the largest models take.

What is above it is a mistake or an attack, and sums and costs of it would outgrow the 64 bits of a database's column.
"""

_BYTES_PER_TOKEN = 4
_TOTALS = frozenset({"prompt_tokens", "completion_tokens", "total_tokens"})
_ANTHROPIC_READ = "cache_read_input_tokens"
_ANTHROPIC_WRITTEN = "cache_creation_input_tokens"


@record
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
    cache_write_1h: int = 0
    """Of ``cache_write``: to be kept for an hour."""
    image_input: int = 0
    image_output: int = 0

    @classmethod
    def reported(cls, usage: Mapping[str, Any]) -> Self | None:
        """From a ``usage`` object; a part that is missing or no count is zero, and so is a total that is missing.

        None, nothing was reported, when a total is no whole number from 0 to ``MAX_TOKENS``.
        """
        given, taken = usage.get("prompt_tokens"), usage.get("completion_tokens")
        if usage.keys() == _TOTALS and given.__class__ is int and taken.__class__ is int:
            # As most servers report; nothing else is to be looked for.
            return cls(given, taken) if 0 <= given <= MAX_TOKENS and 0 <= taken <= MAX_TOKENS else None
        if not (_is_total(given) and _is_total(taken)):
            return None
        prompt = _mapping(usage.get("prompt_tokens_details"))
        completion = _mapping(usage.get("completion_tokens_details"))
        given, taken = _count(given), _count(taken)
        reasoning = _count(completion.get("reasoning_tokens"))
        if reasoning and _count(usage.get("total_tokens")) == given + taken + reasoning:
            taken += reasoning
        # The same tokens under the names of several providers: the first that counts any.
        cached = _first(
            prompt.get("cached_tokens"), usage.get("prompt_cache_hit_tokens"), usage.get(_ANTHROPIC_READ)
        )
        written = _first(
            prompt.get("cache_creation_tokens"),
            prompt.get("cache_write_tokens"),
            usage.get(_ANTHROPIC_WRITTEN),
        )
        if not prompt and not completion:
            return cls(given, taken, cached, written)
        kept = _mapping(prompt.get("cache_creation_token_details"))
        return cls(
            input=given,
            output=taken,
            cached=cached,
            cache_write=written,
            cache_write_1h=_count(kept.get("ephemeral_1h_input_tokens")),
            audio_input=_count(prompt.get("audio_tokens")),
            audio_output=_count(completion.get("audio_tokens")),
            image_input=_count(prompt.get("image_tokens")),
            image_output=_count(completion.get("image_tokens")),
            reasoning=reasoning,
        )

    @property
    def has_parts(self) -> bool:
        """Whether anything but the totals is counted."""
        return bool(
            self.cached
            or self.cache_write
            or self.audio_input
            or self.audio_output
            or self.reasoning
            or self.cache_write_1h
            or self.image_input
            or self.image_output
        )

    def __add__(self, other: "Tokens") -> "Tokens":
        return Tokens(*(getattr(self, name) + getattr(other, name) for name in KINDS))


KINDS = tuple(kind.name for kind in fields(Tokens))
"""The names of all kinds, in their order in ``Tokens``."""


def estimated_tokens(size: int) -> int:
    """Tokens of ``size`` bytes of text: one for every four bytes, rounded up."""
    return -(-size // _BYTES_PER_TOKEN)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int:
    # The class itself, as a bool is an int too.
    return value if value.__class__ is int and 0 < value <= MAX_TOKENS else 0


def _is_total(value: Any) -> bool:
    return value is None or (value.__class__ is int and 0 <= value <= MAX_TOKENS)


def _first(first: Any, second: Any, third: Any) -> int:
    return _count(first) or _count(second) or _count(third)
