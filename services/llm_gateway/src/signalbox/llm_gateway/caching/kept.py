"""Where answers are kept: the shared cache, which may be away or emptied at any moment, and then is done without."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import orjson

from signalbox.common.cache import Cache, CacheUnavailable, StoredValue
from signalbox.common.record import record

T = TypeVar("T")

_LOG = logging.getLogger(__name__)

ANSWER_S = 0.25
"""The longest that a call waits for the cache. Once it was too slow, no call waits until it answers again."""

LOOK_S = 0.5
"""How often it is asked whether it answers again."""

MAX_WRITES = 256
"""Answers that may be on their way to the cache; what comes on top is not kept."""


@record
class Entry:
    """A kept answer: the body of a whole one, which was made at ``made_at`` (epoch milliseconds)."""

    made_at: int
    body: bytes
    emulated: str | None = None

    def written(self) -> bytes:
        """As bytes: what is known of it in a line, then the body."""
        return orjson.dumps({"made_at": self.made_at, "emulated": self.emulated}) + b"\n" + self.body

    @classmethod
    def read(cls, written: bytes) -> "Entry | None":
        """From bytes; None for some that another version wrote."""
        head, _, body = written.partition(b"\n")
        try:
            known = orjson.loads(head)
            return cls(known["made_at"], body, known["emulated"])
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return None


class KeptAnswers:
    """Reads and writes entries. Neither fails, and a cache that is away costs no call any time."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._returning: asyncio.Task[None] | None = None
        self._writes: set[asyncio.Task[None]] = set()

    @property
    def away(self) -> bool:
        """Whether the cache does not answer now."""
        return self._returning is not None

    async def get(self, key: str) -> bytes | None:
        """What is kept under a key."""
        return await self._read(lambda: self._cache.values.get(key), None)

    async def follow(self, log: str, after: int) -> list[tuple[int, bytes]]:
        """The entries of a log behind the one numbered ``after``."""
        return await self._read(lambda: self._cache.logs.read(log, after), [])

    def put(
        self, key: str, value: bytes, ttl_s: int, first: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Keep it; returns at once, and it can be read soon after. ``first`` is written before it, or neither is."""
        stored = StoredValue(key, value, ttl_s * 1000)

        async def write() -> None:
            if first is not None:
                await first()
            await self._cache.values.put(stored)

        self._write(write)

    def append(self, log: str, number: int, entry: bytes, ttl_s: int) -> None:
        """Keep the entry ``number`` of a log, unless another has that number; returns at once."""
        self._write(lambda: self._cache.logs.append(log, number, [entry], ttl_s * 1000))

    async def _read(self, read: Callable[[], Awaitable[T]], otherwise: T) -> T:
        if not self.away:
            try:
                async with asyncio.timeout(ANSWER_S):
                    return await read()
            except (TimeoutError, CacheUnavailable) as error:
                self._lose(error)
        return otherwise

    def _write(self, write: Callable[[], Awaitable[None]]) -> None:
        if self.away or len(self._writes) >= MAX_WRITES:
            return
        task = asyncio.create_task(self._tried(write))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    async def close(self) -> None:
        """Let what is being written be written, shortly."""
        if self._returning is not None:
            self._returning.cancel()
        tasks = [*self._writes, *([] if self._returning is None else [self._returning])]
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _tried(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except CacheUnavailable as error:
            self._lose(error)

    def _lose(self, error: Exception) -> None:
        if self._returning is None:
            reason = str(error) or "no answer in time"
            _LOG.warning("kept answers cannot be read, models are called instead: %s", reason)
            self._returning = asyncio.create_task(self._return(), name="kept answers return")

    async def _return(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                async with asyncio.timeout(ANSWER_S):
                    await self._cache.ping()
                break
            except (TimeoutError, CacheUnavailable):
                continue
        _LOG.warning("kept answers can be read again")
        self._returning = None
