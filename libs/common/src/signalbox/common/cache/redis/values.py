"""Values with a TTL: Redis strings."""

from collections.abc import Sequence

from signalbox.common.cache.ports import StoredValue
from signalbox.common.cache.redis.client import RedisClient


class RedisValues:
    """`Values` under keys that start with `prefix`."""

    def __init__(self, client: RedisClient, prefix: str) -> None:
        self._client = client
        self._prefix = prefix

    async def get(self, key: str) -> bytes | None:
        """See `Values.get`."""
        value: bytes | None = await self._client.call("GET", self._prefix + key)
        return value

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """See `Values.get_many`."""
        if not keys:
            return []
        values: list[bytes | None] = await self._client.call("MGET", *(self._prefix + key for key in keys))
        return values

    async def put(self, *values: StoredValue) -> None:
        """See `Values.put`."""
        await self._client.call_all(
            [("SET", self._prefix + item.key, item.value, "PX", item.ttl_ms) for item in values]
        )

    async def delete(self, *keys: str) -> None:
        """See `Values.delete`."""
        if keys:
            await self._client.call("UNLINK", *(self._prefix + key for key in keys))
