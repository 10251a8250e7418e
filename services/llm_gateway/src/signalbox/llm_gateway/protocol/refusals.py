"""How providers say that a content filter refused a call, and that the gateway's account with them is empty.

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

_SPENT = frozenset({"insufficient_quota", "billing_hard_limit_reached", "insufficient_balance"})


def codes_of(*said: object) -> frozenset[str]:
    """What a provider's error says in its fields for codes, in lower case."""
    return frozenset(str(code).lower() for code in said if code is not None)


def is_filtered(codes: AbstractSet[str], words: str) -> bool:
    """Whether an error with these codes and this sentence comes from a content filter."""
    return bool(codes & _FILTER_CODES or (words and _FILTER.search(words)))


def is_spent(status: int, codes: AbstractSet[str]) -> bool:
    """Whether an error says that what the operator paid for is used up, which a rate limit does not."""
    return status == 402 or (status == 429 and bool(codes & _SPENT))
