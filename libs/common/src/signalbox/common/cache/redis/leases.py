"""Leases: a Redis string with the holder's name, and a hash of who stands in line for it, changed by scripts."""

from signalbox.common.cache.ports import Grant, LeaseState, Place, StoredValue
from signalbox.common.cache.redis.client import RedisClient
from signalbox.common.cache.redis.following import follow
from signalbox.common.cache.redis.scripts import Script, load_script

EXPIRY_SLACK_S = 0.002
"""Redis rounds times to milliseconds; looking this much after an expiry finds it done."""


class RedisLeases:
    """`Leases` under keys that start with `prefix`; values they read and write start with `values_prefix`."""

    def __init__(self, client: RedisClient, prefix: str, values_prefix: str) -> None:
        self._client = client
        self._prefix = prefix
        self._line_prefix = f"{prefix}line:"
        self._mailbox_prefix = f"{prefix}stop:"
        self._values_prefix = values_prefix
        self._acquire = _with_lines("lease_acquire")
        self._stand = _with_lines("lease_stand")
        self._renew = _with_lines("lease_renew")
        self._release = _with_lines("lease_release")
        self._cancel = load_script("lease_cancel")

    async def acquire(
        self,
        lease: str,
        holder: str,
        ttl_ms: int,
        read: str | None = None,
        place: Place | None = None,
    ) -> Grant:
        """See `Leases.acquire`."""
        keys = [self._prefix + lease, self._line_prefix + lease]
        if read is not None:
            keys.append(self._values_prefix + read)
        line = (
            ("", 0, 0, 0) if place is None else (place.process, place.behind, place.limit, int(place.stands))
        )
        state, current, value = await self._client.run(self._acquire, keys, holder, ttl_ms, *line)
        return Grant(acquired=state == 1, holder=current.decode(), value=value, full=state == 2)

    async def stand(self, lease: str, process: str, waiting: int, limit: int) -> bool:
        """See `Leases.stand`."""
        return bool(await self._client.run(self._stand, [self._line_prefix + lease], process, waiting, limit))

    async def renew(
        self, lease: str, holder: str, ttl_ms: int, process: str = "", waiting: int = 0
    ) -> LeaseState:
        """See `Leases.renew`."""
        keys = [self._prefix + lease, self._line_prefix + lease]
        state = await self._client.run(self._renew, keys, holder, ttl_ms, process, waiting)
        return LeaseState(held=state > 0, cancel_requested=state == 2)

    async def release(
        self, lease: str, holder: str, put: StoredValue | None = None, process: str = ""
    ) -> bool:
        """See `Leases.release`."""
        keys = [self._prefix + lease, self._line_prefix + lease]
        if put is None:
            held = await self._client.run(self._release, keys, holder, process)
        else:
            keys.append(self._values_prefix + put.key)
            held = await self._client.run(self._release, keys, holder, process, put.value, put.ttl_ms)
        return bool(held)

    async def request_cancel(self, lease: str, what: str = "") -> bool:
        """See `Leases.request_cancel`."""
        return bool(await self._client.run(self._cancel, [self._prefix + lease], what, self._mailbox_prefix))

    async def cancels(self, process: str, timeout_ms: int) -> bool:
        """See `Leases.cancels`: the mailbox is a key, so that nothing is missed between two waits."""
        mailbox = self._mailbox_prefix + process

        async def look() -> tuple[bool | None, float | None]:
            return (True, None) if await self._client.call("GETDEL", mailbox) else (None, None)

        return bool(await follow(self._client, mailbox, look, timeout_ms / 1000))

    async def wait(self, lease: str, timeout_ms: int, holder: str = "") -> bool:
        """See `Leases.wait`: woken by the message of a release, else at the moment of the expiry."""
        key = self._prefix + lease

        async def look() -> tuple[bool | None, float | None]:
            left_ms, current = await self._client.call_all((("PTTL", key), ("GET", key)))
            if left_ms < 0 or (current is not None and current[1:].decode() == holder):
                return True, None
            return None, left_ms / 1000 + EXPIRY_SLACK_S

        return bool(await follow(self._client, key, look, timeout_ms / 1000))


def _with_lines(name: str) -> Script:
    return load_script("lease_line", name)
