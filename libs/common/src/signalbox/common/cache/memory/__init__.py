"""The cache ports in one process."""

from signalbox.common.cache.memory.cache import MemoryCache

__all__ = ["MemoryCache"]
