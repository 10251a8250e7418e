"""The cache ports: values with a TTL, leases, limits and event logs.

Everything behind them can be rebuilt and may be emptied at any moment. Keys are made by ``key()``, which puts
the tenant first, so that no key is ever shared by two tenants.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal, Protocol

from signalbox.common.errors import Unavailable
from signalbox.common.record import record


class CacheUnavailable(Unavailable):
    """The cache cannot be reached, or does not answer in time."""

    code: ClassVar[str] = "cache_unavailable"


class CacheUrlError(ValueError):
    """The URL of the cache cannot be used; the sentence says what to change."""


def key(kind: str, tenant: str, *parts: str) -> str:
    """A cache key, ``kind:tenant:part:...``; ``%`` and ``:`` inside parts are percent-encoded."""
    safe = (part.replace("%", "%25").replace(":", "%3A") for part in (tenant, *parts))
    return ":".join((kind, *safe))


@record
class StoredValue:
    """A value to write, alone or together with another operation. It lives ``ttl_ms`` (1 or more)."""

    key: str
    value: bytes
    ttl_ms: int

    def __post_init__(self) -> None:
        if self.ttl_ms < 1:
            raise ValueError(f"{self.key} needs a time to live of at least 1 ms, not {self.ttl_ms}")


@record
class Grant:
    """The answer to a request for a lease. ``value`` is what was read in the same round trip."""

    acquired: bool
    holder: str
    """Who holds the lease now."""
    value: bytes | None = None


@record
class LeaseState:
    """What a holder learns when it renews."""

    held: bool
    cancel_requested: bool


LimitKind = Literal["window", "parallel"]

NEVER_MS = 2**31 - 1
"""`Reservation.retry_after_ms` of an amount that is above its limit and so never fits."""

PARALLEL_RETRY_MS = 1000
"""The longest `Reservation.retry_after_ms` of a parallel limit: its units may be released at any moment."""


@record
class LimitRequest:
    """An amount to take from one limit.

    ``window``: at most ``limit`` units in any ``window_s`` seconds, counted in buckets of ``window_s / 60``
    on the cache's own clock; a unit fits again between 60/60 and 61/60 of the window after it was taken.
    Windows of different length under one key count apart.
    ``parallel``: at most ``limit`` units at once; each is freed by settle or release, or by itself after
    ``ttl_ms``.
    """

    key: str
    kind: LimitKind
    limit: int
    amount: int = 1
    window_s: int = 60
    ttl_ms: int = 600_000


@record
class Reservation:
    """The answer to ``reserve``: all requests were granted, or none was.

    ``token`` names the reservation when settling or releasing. ``refused`` is the index of the first request
    that did not fit and ``retry_after_ms`` when it would, if nothing else is taken or given back meanwhile
    (at most `PARALLEL_RETRY_MS` for a parallel limit; `NEVER_MS` when the amount is above the limit itself).
    """

    granted: bool
    token: str
    refused: int | None = None
    retry_after_ms: int = 0


class Values(Protocol):
    """Bytes with a time to live. What is put may be evicted early to stay within memory."""

    async def get(self, key: str) -> bytes | None:
        """The value, or None when there is none or it has expired."""
        ...

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Several values in one round trip."""
        ...

    async def put(self, *values: StoredValue) -> None:
        """Write values in one round trip."""
        ...

    async def delete(self, *keys: str) -> None:
        """Forget values."""
        ...


class Leases(Protocol):
    """Leases avoid wasted work; correctness is in the database."""

    async def acquire(self, lease: str, holder: str, ttl_ms: int, read: str | None = None) -> Grant:
        """Take the lease unless another holds it, and read the value ``read`` in the same round trip.

        Who holds it already takes it again, prolonged, and stays asked to stop if it was.
        """
        ...

    async def renew(self, lease: str, holder: str, ttl_ms: int) -> LeaseState:
        """Prolong the lease if ``holder`` still has it."""
        ...

    async def release(self, lease: str, holder: str, put: StoredValue | None = None) -> bool:
        """Give the lease back and, if it was still held, write ``put`` in the same round trip."""
        ...

    async def request_cancel(self, lease: str) -> bool:
        """Ask whoever holds the lease to stop; false when nobody does. The holder learns it when renewing."""
        ...

    async def wait(self, lease: str, timeout_ms: int) -> bool:
        """Wait until the lease may be free; false when the time ran out first.

        A release tells everybody who waits at once, in no order; an expiry is noticed when it happens.
        """
        ...


class Limits(Protocol):
    """Several limits taken in one atomic call; a refused call takes nothing from any."""

    async def reserve(self, requests: Sequence[LimitRequest]) -> Reservation:
        """Take all amounts, or none. Raises `ValueError` for a negative amount."""
        ...

    async def settle(self, token: str, actuals: Sequence[int | None]) -> None:
        """Correct window amounts to what was really used (None leaves one) and free parallel units.

        All units count at the moment of the reservation: a correction changes nothing once that moment has
        left the window. An actual above the reserved amount is counted even where that exceeds the limit. A
        reservation is settled or released once; what comes later, and an unknown token, changes nothing.
        Raises `ValueError` for a negative actual.
        """
        ...

    async def release(self, token: str) -> None:
        """Give everything back, as if it had never been reserved; nothing when settled or released before."""
        ...

    async def used(self, requests: Sequence[LimitRequest]) -> list[int]:
        """Units taken now from each limit."""
        ...


class EventLogs(Protocol):
    """Short-lived ordered logs, read by any replica."""

    async def append(self, log: str, first_id: int, events: Sequence[bytes], ttl_ms: int) -> None:
        """Append events numbered from ``first_id`` (1 or more) in one round trip.

        Numbers up to the last one kept are left as they are. The whole log lives ``ttl_ms`` from now. Raises
        `ValueError` for a number below 1.
        """
        ...

    async def read(self, log: str, after: int, wait_ms: int = 0) -> list[tuple[int, bytes]]:
        """Events with a number above ``after``, in order; waits up to ``wait_ms`` for the first one."""
        ...

    async def bounds(self, log: str) -> tuple[int, int] | None:
        """First and last number still kept, or None when there is no such log."""
        ...


class Cache(Protocol):
    """One cache, in memory or Redis."""

    @property
    def values(self) -> Values:
        """Values with a TTL."""
        ...

    @property
    def leases(self) -> Leases:
        """Leases."""
        ...

    @property
    def limits(self) -> Limits:
        """Limits."""
        ...

    @property
    def logs(self) -> EventLogs:
        """Event logs."""
        ...

    async def ping(self) -> None:
        """Return when the cache answers; raise CacheUnavailable within a second when it does not."""
        ...

    async def close(self) -> None:
        """Free connections."""
        ...
