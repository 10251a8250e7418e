"""Identifiers that sort by time of creation: UUID version 7 (RFC 9562, section 5.7), in hex with a prefix."""

import os
import time
from random import getrandbits

_VARIANT = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}
"""The digit that holds the variant (binary 10) and two random bits, by a random digit."""


def new_id(prefix: str) -> str:
    """A new id such as ``turn_0192f1...``: 48 bits of milliseconds, then 74 random bits."""
    random = os.urandom(10).hex()
    # 12 digits of time, the version, 3 random ones, the variant with 2 random bits, 15 random ones.
    return f"{prefix}_{time.time_ns() // 1_000_000:012x}7{random[:3]}{_VARIANT[random[3]]}{random[5:]}"


def label_id(prefix: str) -> str:
    """An id like ``new_id``'s, made in half the time of pseudo-random numbers: for what nobody may do by knowing it."""
    number = time.time_ns() // 1_000_000 << 80 | 7 << 76 | getrandbits(12) << 64 | 2 << 62 | getrandbits(62)
    return f"{prefix}_{number:032x}"


def now_ms() -> int:
    """Wall-clock milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
