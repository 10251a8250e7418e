"""Leases: a Redis string with the holder's name, changed by scripts."""

from signalbox.common.cache.ports import Grant, LeaseState, StoredValue
from signalbox.common.cache.redis.client import RedisClient
from signalbox.common.cache.redis.following import follow
from signalbox.common.cache.redis.scripts import load_script

EXPIRY_SLACK_S = 0.002
"""Redis rounds times to milliseconds; looking this much after an expiry finds it done."""


class RedisLeases:
    """`Leases` under keys that start with `prefix`; values they read and write start with `values_prefix`."""

    def __init__(self, client: RedisClient, prefix: str, values_prefix: str) -> None:
        self._client = client
        self._prefix = prefix
        self._values_prefix = values_prefix
        self._acquire = load_script("lease_acquire")
        self._renew = load_script("lease_renew")
        self._release = load_script("lease_release")
        self._cancel = load_script("lease_cancel")

    async def acquire(self, lease: str, holder: str, ttl_ms: int, read: str | None = None) -> Grant:
        """See `Leases.acquire`."""
        keys = [self._prefix + lease]
        if read is not None:
            keys.append(self._values_prefix + read)
        taken, current, value = await self._client.run(self._acquire, keys, holder, ttl_ms)
        return Grant(acquired=taken == 1, holder=current.decode(), value=value)

    async def renew(self, lease: str, holder: str, ttl_ms: int) -> LeaseState:
        """See `Leases.renew`."""
        state = await self._client.run(self._renew, [self._prefix + lease], holder, ttl_ms)
        return LeaseState(held=state > 0, cancel_requested=state == 2)

    async def release(self, lease: str, holder: str, put: StoredValue | None = None) -> bool:
        """See `Leases.release`."""
        key = self._prefix + lease
        if put is None:
            held = await self._client.run(self._release, [key], holder)
        else:
            keys = [key, self._values_prefix + put.key]
            held = await self._client.run(self._release, keys, holder, put.value, put.ttl_ms)
        return bool(held)

    async def request_cancel(self, lease: str) -> bool:
        """See `Leases.request_cancel`."""
        return bool(await self._client.run(self._cancel, [self._prefix + lease]))

    async def wait(self, lease: str, timeout_ms: int) -> bool:
        """See `Leases.wait`: woken by the message of a release, else at the moment of the expiry."""
        key = self._prefix + lease

        async def look() -> tuple[bool | None, float | None]:
            left_ms: int = await self._client.call("PTTL", key)
            return (None, left_ms / 1000 + EXPIRY_SLACK_S) if left_ms >= 0 else (True, None)

        return bool(await follow(self._client, key, look, timeout_ms / 1000))
