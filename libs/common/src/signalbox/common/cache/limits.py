"""What both implementations of `Limits` share: the buckets of a window, and what may be asked for."""

import os
from collections.abc import Sequence

from signalbox.common.cache.ports import LimitRequest

BUCKETS_PER_WINDOW = 60

COUNTED_BUCKETS = BUCKETS_PER_WINDOW + 1
"""The current bucket and the 60 before it: they cover a whole window at any moment inside the current one."""


def bucket_width_us(window_s: int) -> int:
    """Microseconds in one bucket, rounded up so that 60 of them are never shorter than the window."""
    return -(-window_s * 1_000_000 // BUCKETS_PER_WINDOW)


def check_requests(requests: Sequence[LimitRequest]) -> None:
    """Raise `ValueError` for an amount or a span that would corrupt a limit."""
    for request in requests:
        if request.amount < 0:
            raise ValueError(f"an amount of {request.amount} units cannot be taken from {request.key}")
        if request.window_s < 1 or request.ttl_ms < 1:
            raise ValueError(f"the window and the time to live of {request.key} must be positive")


def check_actuals(actuals: Sequence[int | None]) -> None:
    """Raise `ValueError` for a negative actual amount."""
    if any(actual is not None and actual < 0 for actual in actuals):
        raise ValueError("an actual amount cannot be negative")


def new_token() -> str:
    """A name for a reservation that nobody guesses or repeats."""
    return os.urandom(16).hex()
