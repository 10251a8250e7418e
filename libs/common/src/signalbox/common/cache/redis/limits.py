"""Limits: hashes and sorted sets in Redis, changed by scripts on Redis's own clock (``lua/limits.lua``)."""

from collections.abc import Sequence

from signalbox.common.cache.limits import bucket_width_us, check_actuals, check_requests, new_token
from signalbox.common.cache.ports import NEVER_MS, PARALLEL_RETRY_MS, LimitRequest, Reservation
from signalbox.common.cache.redis.client import RedisClient
from signalbox.common.cache.redis.connection import Argument
from signalbox.common.cache.redis.scripts import load_script


class RedisLimits:
    """`Limits` under keys that start with `prefix`."""

    def __init__(self, client: RedisClient, prefix: str) -> None:
        self._client = client
        self._prefix = prefix
        self._reserve = load_script("limits", "reserve")
        self._settle = load_script("limits", "settle")
        self._used = load_script("limits", "used")

    async def reserve(self, requests: Sequence[LimitRequest]) -> Reservation:
        """See `Limits.reserve`."""
        check_requests(requests)
        token = new_token()
        if not requests:
            return Reservation(granted=True, token=token)
        keys = [self._record(token)]
        arguments: list[Argument] = [token, PARALLEL_RETRY_MS]
        for request in requests:
            keys.append(self._key(request))
            kind, span = _kind_and_span(request)
            arguments += (kind, request.limit, request.amount, span)
        answer: list[int] = await self._client.run(self._reserve, keys, *arguments)
        if not answer:
            return Reservation(granted=True, token=token)
        refused, wait_ms = answer
        wait_ms = NEVER_MS if wait_ms < 0 else wait_ms
        return Reservation(granted=False, token=token, refused=refused, retry_after_ms=wait_ms)

    async def settle(self, token: str, actuals: Sequence[int | None]) -> None:
        """See `Limits.settle`."""
        check_actuals(actuals)
        await self._client.run(
            self._settle, [self._record(token)], *("" if actual is None else actual for actual in actuals)
        )

    async def release(self, token: str) -> None:
        """See `Limits.release`."""
        await self._client.run(self._settle, [self._record(token)], "*")

    async def used(self, requests: Sequence[LimitRequest]) -> list[int]:
        """See `Limits.used`."""
        if not requests:
            return []
        arguments: list[Argument] = []
        for request in requests:
            arguments += _kind_and_span(request)
        sums: list[int] = await self._client.run(
            self._used, [self._key(request) for request in requests], *arguments
        )
        return sums

    def _record(self, token: str) -> str:
        return f"{self._prefix}r:{token}"

    def _key(self, request: LimitRequest) -> str:
        if request.kind == "window":
            return f"{self._prefix}w:{request.window_s}:{request.key}"
        return f"{self._prefix}p:{request.key}"


def _kind_and_span(request: LimitRequest) -> tuple[str, int]:
    if request.kind == "window":
        return "w", bucket_width_us(request.window_s)
    return "p", request.ttl_ms
