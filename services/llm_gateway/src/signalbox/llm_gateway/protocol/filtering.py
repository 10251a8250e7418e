"""How providers say that a content filter refused a call.

Sources: OpenAI, "Error codes"; Azure OpenAI, "Content filtering"; Anthropic, Gemini, Bedrock and OpenRouter by what
their servers answer; DashScope, "Status codes" (``data_inspection_failed``).
"""

import re
from collections.abc import Set as AbstractSet

_FILTER_CODES = frozenset(
    {
        "content_filter", "content_policy_violation", "responsibleaipolicyviolation", "data_inspection_failed",
        "moderation_blocked", "content_filtered",
    }
)  # fmt: skip
_FILTER = re.compile(
    r"content (?:management |filtering |filter |usage )?policy|content[ _-]filter|safety system"
    r"|flagged (?:as|by|for)|(?:blocked|rejected) (?:by|due to|for)[^.]{0,40}(?:safety|moderation|policy)"
    r"|usage policy|ContentPolicyViolation",
    re.IGNORECASE,
)


def codes_of(*said: object) -> frozenset[str]:
    """What a provider's error says in its fields for codes, in lower case."""
    return frozenset(str(code).lower() for code in said if code is not None)


def is_filtered(codes: AbstractSet[str], words: str) -> bool:
    """Whether an error with these codes and this sentence comes from a content filter."""
    return bool(codes & _FILTER_CODES or (words and _FILTER.search(words)))
