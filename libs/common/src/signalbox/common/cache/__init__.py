"""Values with a TTL, leases, limits and event logs, in memory or on Redis: `open_cache` chooses."""

from signalbox.common.cache.memory import MemoryCache
from signalbox.common.cache.opening import open_cache
from signalbox.common.cache.ports import (
    NEVER_MS,
    PARALLEL_RETRY_MS,
    Cache,
    CacheUnavailable,
    CacheUrlError,
    EventLogs,
    Grant,
    Leases,
    LeaseState,
    LimitKind,
    LimitRequest,
    Limits,
    Reservation,
    StoredValue,
    Values,
    key,
)

__all__ = [
    "NEVER_MS",
    "PARALLEL_RETRY_MS",
    "Cache",
    "CacheUnavailable",
    "CacheUrlError",
    "EventLogs",
    "Grant",
    "LeaseState",
    "Leases",
    "LimitKind",
    "LimitRequest",
    "Limits",
    "MemoryCache",
    "Reservation",
    "StoredValue",
    "Values",
    "key",
    "open_cache",
]
