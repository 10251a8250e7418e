"""Whose kept answers are: for each session and user, the keys of the answers that their calls have left in the cache.

The answers themselves are found by what was asked, which is a hash; without this nobody could say which of them hold
the words of somebody who wants to be forgotten.
"""

from typing import Literal

from signalbox.common.cache import Cache, key
from signalbox.llm_gateway.call import Caller

_TRIES = 8
_MIN_TTL_S = 86_400
"""The longest that a caller may have an answer kept without a rule of the operator's."""

Whose = Literal["session", "user"]


class AnswersOf:
    """Notes whose an answer is, and forgets answers."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    async def note(self, caller: Caller, answer_key: str, ttl_s: int) -> None:
        """An answer to a call was kept for ``ttl_s``. Raises CacheUnavailable."""
        labels = caller.labels
        for whose, name in (("session", labels.session_id), ("user", labels.user_id)):
            if name is not None:
                log = _log(caller.principal.tenant, whose, name)
                await self._append(log, answer_key.encode(), max(ttl_s, _MIN_TTL_S) * 1000)

    async def forget(self, tenant: str, whose: Whose, name: str) -> int:
        """Remove the answers of a session or user; returns how many there were. Raises CacheUnavailable."""
        log = _log(tenant, whose, name)
        keys = [noted.decode() for _, noted in await self._cache.logs.read(log, 0)]
        await self._cache.values.delete(*keys)
        await self._cache.logs.delete(log)
        return len(keys)

    async def _append(self, log: str, noted: bytes, ttl_ms: int) -> None:
        """Append, also while others do: a number that another took first is not ours, and the next one is tried."""
        for _ in range(_TRIES):
            bounds = await self._cache.logs.bounds(log)
            number = 1 if bounds is None else bounds[1] + 1
            await self._cache.logs.append(log, number, (noted,), ttl_ms)
            kept = await self._cache.logs.read(log, number - 1)
            if kept and kept[0] == (number, noted):
                return


def _log(tenant: str, whose: str, name: str) -> str:
    return key("llm-answers-of", tenant, whose, name)
