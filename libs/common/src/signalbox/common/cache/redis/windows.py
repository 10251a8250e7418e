"""Sliding windows: a Redis hash with a count for each second, by Redis's clock."""

from collections.abc import Sequence

from signalbox.common.cache.ports import Window
from signalbox.common.cache.redis.client import RedisClient
from signalbox.common.cache.redis.scripts import load_script


class RedisWindows:
    """`Windows` under keys that start with `prefix`."""

    def __init__(self, client: RedisClient, prefix: str) -> None:
        self._client = client
        self._prefix = prefix
        self._count = load_script("window_count")

    async def count(self, windows: Sequence[Window], seconds: int) -> Window | None:
        """See `Windows.count`."""
        keys = [self._prefix + window.key for window in windows]
        limits = [window.limit for window in windows]
        full: int = await self._client.run(self._count, keys, seconds, *limits)
        return windows[full - 1] if full else None
