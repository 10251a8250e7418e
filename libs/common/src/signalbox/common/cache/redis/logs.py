"""Event logs: Redis streams whose ids are the events' numbers."""

from collections.abc import Sequence

from signalbox.common.cache.logs import check_first_id
from signalbox.common.cache.redis.client import RedisClient
from signalbox.common.cache.redis.following import follow
from signalbox.common.cache.redis.scripts import load_script

Events = list[tuple[int, bytes]]


class RedisEventLogs:
    """`EventLogs` under keys that start with `prefix`."""

    def __init__(self, client: RedisClient, prefix: str) -> None:
        self._client = client
        self._prefix = prefix
        self._append = load_script("log_append")
        self._bounds = load_script("log_bounds")

    async def append(self, log: str, first_id: int, events: Sequence[bytes], ttl_ms: int) -> None:
        """See `EventLogs.append`."""
        check_first_id(first_id)
        if events:
            await self._client.run(self._append, [self._prefix + log], first_id, ttl_ms, *events)

    async def read(self, log: str, after: int, wait_ms: int = 0) -> Events:
        """See `EventLogs.read`: woken by the message of an append."""
        key = self._prefix + log

        async def look() -> tuple[Events | None, float | None]:
            return await self._range(key, after) or None, None

        if wait_ms <= 0:
            return await self._range(key, after)
        return await follow(self._client, key, look, wait_ms / 1000) or []

    async def bounds(self, log: str) -> tuple[int, int] | None:
        """See `EventLogs.bounds`."""
        ids: list[bytes] = await self._client.run(self._bounds, [self._prefix + log])
        return (_number(ids[0]), _number(ids[1])) if ids else None

    async def delete(self, *logs: str) -> None:
        """See `EventLogs.delete`."""
        if logs:
            await self._client.call("UNLINK", *(self._prefix + log for log in logs))

    async def _range(self, key: str, after: int) -> Events:
        entries = await self._client.call("XRANGE", key, f"{after + 1}-0", "+")
        return [(_number(entry), fields[1]) for entry, fields in entries]


def _number(entry: bytes) -> int:
    return int(entry[:-2])
