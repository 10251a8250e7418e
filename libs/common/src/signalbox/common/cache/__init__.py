"""Values with a TTL, leases, event logs and sliding windows, in memory or on Redis: `open_cache` chooses."""

from signalbox.common.cache.memory import MemoryCache
from signalbox.common.cache.opening import open_cache
from signalbox.common.cache.ports import (
    Cache,
    CacheUnavailable,
    CacheUrlError,
    EventLogs,
    Grant,
    Leases,
    LeaseState,
    Place,
    StoredValue,
    Values,
    Window,
    Windows,
    key,
)

__all__ = [
    "Cache",
    "CacheUnavailable",
    "CacheUrlError",
    "EventLogs",
    "Grant",
    "LeaseState",
    "Leases",
    "MemoryCache",
    "Place",
    "StoredValue",
    "Values",
    "Window",
    "Windows",
    "key",
    "open_cache",
]
