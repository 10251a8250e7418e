"""A cache that goes down when it is told to."""

from typing import Any

from signalbox.common.cache import Cache, CacheUnavailable


class _Part:
    """One port of the cache; every call fails while the cache is down."""

    def __init__(self, cache: "BrokenCache", part: Any) -> None:
        self._cache = cache
        self._part = part

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._part, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            self._cache.calls.append(name)
            if self._cache.down:
                raise CacheUnavailable("The cache does not answer.")
            return await method(*args, **kwargs)

        return call


class BrokenCache:
    """A real cache behind a switch. ``calls`` names what was asked of it."""

    def __init__(self, cache: Cache) -> None:
        self.down = False
        self.calls: list[str] = []
        self.values: Any = _Part(self, cache.values)
        self.leases: Any = _Part(self, cache.leases)
        self.logs: Any = _Part(self, cache.logs)
        self.windows: Any = _Part(self, cache.windows)

    async def ping(self) -> None:
        """As `Cache.ping`."""
        if self.down:
            raise CacheUnavailable("The cache does not answer.")

    async def close(self) -> None:
        """As `Cache.close`."""
