"""The cache ports: values with a TTL, leases, event logs and sliding windows.

Everything behind them can be rebuilt and may be emptied at any moment. Keys are made by ``key()``, which puts
the tenant first, so that no key is ever shared by two tenants.
"""

from collections.abc import Sequence
from typing import ClassVar, Protocol

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
    full: bool = False
    """Whether a place in line was refused, because too many wait already."""


@record
class Place:
    """Who asks for a lease for one process, of all that wait for it there.

    A process has one place in a line: that of whoever has waited in it longest.
    """

    process: str
    behind: int = 0
    """How many more wait in the process."""
    limit: int = 0
    """How many may wait in all processes; 0 for any number."""
    stands: bool = False
    """Whether to stand in line when the lease is taken."""


@record
class LeaseState:
    """What a holder learns when it renews."""

    held: bool
    cancel_requested: bool


@record
class Window:
    """A limit on how often something happens; ``key`` names what is counted."""

    key: str
    limit: int


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
    """Leases avoid wasted work; correctness is in the database.

    A holder is named ``process/what`` or by its process alone. Who waits may stand in line: then the lease goes from
    process to process in the order in which they came to stand there. A process that has not been heard of for some
    seconds loses its place.
    """

    async def acquire(
        self, lease: str, holder: str, ttl_ms: int, read: str | None = None, place: Place | None = None
    ) -> Grant:
        """Take the lease unless another holds it or stands in line, and read the value ``read`` in the same round trip.

        Who holds it already takes it again, prolonged, and stays asked to stop if it was.
        """
        ...

    async def stand(self, lease: str, process: str, waiting: int, limit: int) -> bool:
        """Say how many wait in a process; false when more than ``limit`` would wait in all, and nothing changed."""
        ...

    async def renew(
        self, lease: str, holder: str, ttl_ms: int, process: str = "", waiting: int = 0
    ) -> LeaseState:
        """Prolong the lease if ``holder`` still has it; ``waiting`` wait behind it in its process."""
        ...

    async def release(
        self, lease: str, holder: str, put: StoredValue | None = None, process: str = ""
    ) -> bool:
        """Give the lease back and, if it was still held, write ``put`` in the same round trip.

        It goes to whoever is first in line. With ``process`` a place that ``holder`` has in the line is given up too.
        """
        ...

    async def request_cancel(self, lease: str, what: str = "") -> bool:
        """Ask whoever holds the lease to stop; false when nobody does, or its name does not end with ``/what``.

        The holder learns it when renewing, its process by ``cancels``.
        """
        ...

    async def cancels(self, process: str, timeout_ms: int) -> bool:
        """Wait until a holder that belongs to ``process`` is asked to stop; false when the time ran out first."""
        ...

    async def wait(self, lease: str, timeout_ms: int, holder: str = "") -> bool:
        """Wait until the lease may be free, or was handed to ``holder``; false when the time ran out first.

        A release tells everybody who waits at once, in no order; an expiry is noticed when it happens.
        """
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

    async def delete(self, *logs: str) -> None:
        """Forget whole logs."""
        ...


class Windows(Protocol):
    """Counts of what happened lately. An emptied cache counts anew."""

    async def count(self, windows: Sequence[Window], seconds: int) -> Window | None:
        """Count one event in every window, in one round trip; the first that is full, and then nothing is counted.

        Never more than a window's limit in any ``seconds`` seconds; a second counts whole until it has left.
        """
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
    def logs(self) -> EventLogs:
        """Event logs."""
        ...

    @property
    def windows(self) -> Windows:
        """Counts of what happened lately."""
        ...

    async def ping(self) -> None:
        """Return when the cache answers; raise CacheUnavailable within a second when it does not."""
        ...

    async def close(self) -> None:
        """Free connections."""
        ...
