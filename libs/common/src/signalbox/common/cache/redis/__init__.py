"""The cache ports on Redis."""

from signalbox.common.cache.redis.cache import RedisCache

__all__ = ["RedisCache"]
