"""When to come back: the ``Retry-After`` header, in seconds or as a date (RFC 9110, section 10.2.3)."""

import time
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime


def seconds_to_wait(headers: Mapping[str, str], now: float | None = None) -> float:
    """Seconds that an answer asks to wait; 0 where it asks for none, or in words that nobody knows.

    A date counts from the answer's own ``Date`` where it has one, so that clocks need not agree. ``headers`` are by
    lower-case name, ``now`` is in epoch seconds.
    """
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    until = _epoch(value)
    if until is None:
        return 0.0
    since = _epoch(headers.get("date", ""))
    if since is None:
        since = time.time() if now is None else now
    return max(0.0, until - since)


def _epoch(date: str) -> float | None:
    try:
        parsed = parsedate_to_datetime(date)
    except (TypeError, ValueError, IndexError):
        return None
    # An HTTP date is in GMT; a parser that finds "-0000" leaves that open.
    return (parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)).timestamp()
