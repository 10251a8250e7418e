"""Values with a TTL in this process, the least recently used evicted when they take too many bytes."""

from collections import OrderedDict
from collections.abc import Callable, Sequence

from signalbox.common.cache.memory.expiries import Expiries
from signalbox.common.cache.ports import StoredValue

OVERHEAD_BYTES = 300
"""What one entry takes beside its key and value: dictionary slots, heap entry and object headers."""


class MemoryValues:
    """`Values` in at most `max_bytes`. A value larger than that is not kept."""

    def __init__(self, clock: Callable[[], float], max_bytes: int) -> None:
        self._clock = clock
        self._max_bytes = max_bytes
        self._values: OrderedDict[str, bytes] = OrderedDict()
        self._expiries = Expiries()
        self.size = 0
        """Bytes taken now."""

    async def get(self, key: str) -> bytes | None:
        """See `Values.get`."""
        return self.read(key)

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """See `Values.get_many`."""
        return [self.read(key) for key in keys]

    async def put(self, *values: StoredValue) -> None:
        """See `Values.put`."""
        for value in values:
            self.write(value)

    async def delete(self, *keys: str) -> None:
        """See `Values.delete`."""
        for key in keys:
            self._drop(key)

    def read(self, key: str) -> bytes | None:
        """`get` for the other parts of the cache."""
        self._expire()
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def write(self, value: StoredValue) -> None:
        """`put` for the other parts of the cache."""
        self._expire()
        self._drop(value.key)
        self._values[value.key] = value.value
        self._expiries.set(value.key, self._clock() + value.ttl_ms / 1000)
        self.size += _size(value.key, value.value)
        while self.size > self._max_bytes:
            self._drop(next(iter(self._values)))

    def _expire(self) -> None:
        for key in self._expiries.due(self._clock()):
            self._drop(key)

    def _drop(self, key: str) -> None:
        value = self._values.pop(key, None)
        if value is not None:
            self._expiries.forget(key)
            self.size -= _size(key, value)


def _size(key: str, value: bytes) -> int:
    return len(key) + len(value) + OVERHEAD_BYTES
