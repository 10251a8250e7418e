"""The cache on Redis >= 6.2 with one primary."""

from signalbox.common.cache.redis.address import parse_url
from signalbox.common.cache.redis.client import RedisClient
from signalbox.common.cache.redis.leases import RedisLeases
from signalbox.common.cache.redis.logs import RedisEventLogs
from signalbox.common.cache.redis.values import RedisValues
from signalbox.common.cache.redis.windows import RedisWindows

TIMEOUT_SECONDS = 1.0


class RedisCache:
    """A `Cache` shared by every process that names the same server and `namespace`.

    One connection, opened by the first operation and again whenever it is lost; every operation ends within
    `timeout_s` seconds (a waiting one that much after the time it was given), with `CacheUnavailable` if need
    be. Belongs to one event loop. Raises `CacheUrlError`.
    """

    def __init__(self, url: str, *, timeout_s: float = TIMEOUT_SECONDS, namespace: str = "sb") -> None:
        self._client = RedisClient(parse_url(url), timeout_s=timeout_s)
        values = f"{namespace}:v:"
        self._values = RedisValues(self._client, values)
        self._leases = RedisLeases(self._client, f"{namespace}:l:", values)
        self._logs = RedisEventLogs(self._client, f"{namespace}:e:")
        self._windows = RedisWindows(self._client, f"{namespace}:w:")

    @property
    def values(self) -> RedisValues:
        """Values with a TTL."""
        return self._values

    @property
    def leases(self) -> RedisLeases:
        """Leases."""
        return self._leases

    @property
    def logs(self) -> RedisEventLogs:
        """Event logs."""
        return self._logs

    @property
    def windows(self) -> RedisWindows:
        """Counts of what happened lately."""
        return self._windows

    async def ping(self) -> None:
        """Return when Redis answers. Raises `CacheUnavailable`."""
        await self._client.call("PING")

    async def close(self) -> None:
        """Close the connection; later operations raise `CacheUnavailable`."""
        await self._client.close()
