"""The cache that a URL names."""

from signalbox.common.cache.memory import MemoryCache
from signalbox.common.cache.ports import Cache, CacheUrlError


def open_cache(url: str | None, *, timeout_s: float = 1.0) -> Cache:
    """A cache on Redis (``redis://`` or ``rediss://``), or in memory when `url` is None.

    No connection is made before the first operation; each ends within `timeout_s`. Raises `CacheUrlError`.
    """
    if url is None:
        return MemoryCache()
    try:
        # Imported here because the `redis` extra is optional.
        from signalbox.common.cache.redis import RedisCache  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name != "hiredis":
            raise
        raise CacheUrlError("a Redis cache needs an extra: install signalbox-common[redis]") from error
    return RedisCache(url, timeout_s=timeout_s)
