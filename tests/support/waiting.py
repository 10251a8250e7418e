"""Waiting on a condition with a deadline: the only way in which these suites wait."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_POLL_S = 0.02


def eventually(condition: Callable[[], T], what: str, timeout: float = 10.0) -> T:
    """The first true result of ``condition``; AssertionError with ``what`` when none comes in ``timeout`` s.

    An AssertionError or a connection error inside counts as not yet.
    """
    deadline = time.monotonic() + timeout
    last: object = None
    while True:
        try:
            last = found = condition()
            if found:
                return found
        except (AssertionError, OSError) as error:
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {timeout:g} s; last: {last!r}")
        time.sleep(_POLL_S)
