"""Waiting for something that another replica announces by a published message."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from signalbox.common.cache.redis.client import RedisClient

T = TypeVar("T")


async def follow(
    client: RedisClient,
    channel: str,
    look: Callable[[], Awaitable[tuple[T | None, float | None]]],
    timeout_s: float,
) -> T | None:
    """Call `look` now and after every message on `channel`, until it finds something or the time is up.

    `look` returns what it found, or None and the seconds after which to look again without a message (None:
    only after one). The subscription and the first look are one round trip, in this order, so that nothing is
    missed in between; waiting holds neither a connection nor a task. Raises `CacheUnavailable`.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while True:
        await client.connected()
        event, first = client.wakeups.join(channel)
        try:
            if first and not client.subscribe(channel):
                continue
            found = await _look_until(event, look, deadline)
            if found is not None or loop.time() >= deadline:
                return found
        finally:
            if client.wakeups.leave(channel, event):
                client.unsubscribe(channel)


async def _look_until(
    event: asyncio.Event,
    look: Callable[[], Awaitable[tuple[T | None, float | None]]],
    deadline: float,
) -> T | None:
    loop = asyncio.get_running_loop()
    found, again_s = await look()
    if found is not None:
        return found
    left = deadline - loop.time()
    if left > 0:
        try:
            async with asyncio.timeout(left if again_s is None else min(left, again_s)):
                await event.wait()
        except TimeoutError:
            pass
    found, _ = await look()
    return found
