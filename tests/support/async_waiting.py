"""Waiting, in the event loop of the code under test, for what a test cannot be told of."""

import asyncio
from collections.abc import Callable

DEADLINE_S = 10.0


async def until(condition: Callable[[], object], seconds: float = DEADLINE_S) -> None:
    """Return as soon as ``condition()`` is true; raises TimeoutError when that takes longer than ``seconds``."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - state of the code under test has no event
            await asyncio.sleep(0.002)
