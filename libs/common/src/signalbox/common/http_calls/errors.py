"""How a call fails."""

from typing import Any, Literal

from signalbox.contracts.work import ToolError

FailureCode = Literal[
    "invalid_arguments",
    "not_found",
    "refused",
    "timeout",
    "unreachable",
    "upstream_error",
    "too_large",
    "bad_response",
    "unknown_outcome",
    "denied",
]

RETRYABLE = frozenset({429, 500, 502, 503, 504})
"""HTTP statuses that a repetition may cure."""


class CallFailed(Exception):
    """A call did not give what it should have. ``error`` is data for a flow or a model, without secrets."""

    def __init__(self, code: FailureCode, detail: str, *, attempts: int = 1, **more: Any) -> None:
        super().__init__(detail)
        self.error = ToolError(code=code, detail=detail, **more)
        self.attempts = attempts
        self.retryable = False
        self.retry_after_s = 0.0
        self.unsent = False
        """Whether it is certain that nothing of the request reached the other side."""

    def worth_repeating(self, after_s: float = 0.0) -> "CallFailed":
        """The same failure, marked as one that a repetition ``after_s`` seconds later may cure."""
        self.retryable = True
        self.retry_after_s = after_s
        return self
