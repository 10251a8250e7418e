"""Identifiers that sort by time of creation: UUID version 7 (RFC 9562, section 5.7), in hex with a prefix."""

import secrets
import time


def new_id(prefix: str) -> str:
    """A new id such as ``turn_0192f1...``: 48 bits of milliseconds, then 74 random bits."""
    millis = time.time_ns() // 1_000_000
    random = secrets.randbits(74)
    value = (millis << 80) | (0x7 << 76) | ((random >> 62) << 64) | (0b10 << 62) | (random & ((1 << 62) - 1))
    return f"{prefix}_{value:032x}"


def now_ms() -> int:
    """Wall-clock milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
