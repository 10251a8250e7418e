"""Exports and erasure, as Workflow asks for them."""

from collections.abc import Callable, Iterator
from typing import Any

from signalbox.contracts.keeping import Forgotten, KeptData, KeptDataRequest, OfSessions
from signalbox.llm_gateway.caching.whose import AnswersOf
from signalbox.llm_gateway.keeping.repository import LedgerNames

_DAY_MS = 86_400_000
_WINDOWS_A_PAGE = 31


class GatewayKeeping:
    """What is kept of sessions and users. ``clock`` gives epoch milliseconds."""

    def __init__(self, names: LedgerNames, answers: AnswersOf, clock: Callable[[], int]) -> None:
        self._names = names
        self._answers = answers
        self._clock = clock

    async def forget(self, tenant: str, what: OfSessions) -> Forgotten:
        """Forget who it was, and what was said. May be repeated."""
        rows = 0
        if what.turn_ids and what.subjects:
            rows += await self._names.forget_replies(tenant, what.subjects, what.turn_ids)
        for session_id in what.session_ids:
            rows += await self._answers.forget(tenant, "session", session_id)
        if what.user_id is not None:
            rows += await self._answers.forget(tenant, "user", what.user_id)
        since = await self._since(tenant, what)
        if since is not None:
            for window in _windows(since, self._until(what)):
                rows += await self._names.forget(tenant, what, *window)
        return Forgotten(rows=rows)

    async def page(self, tenant: str, asked: KeptDataRequest) -> KeptData:
        """Calls in the ledger; a page is a month at most, and may be empty with another after it."""
        since = await self._since(tenant, asked)
        if since is None:
            return KeptData()
        since = max(since, int(asked.after or 0))
        until = self._until(asked)
        items: list[dict[str, Any]] = []
        for number, (start, end) in enumerate(_windows(since, until)):
            if number == _WINDOWS_A_PAGE:
                return KeptData(items=items, next_after=str(start))
            items += await self._names.kept(tenant, asked, start, end)
        return KeptData(items=items)

    async def _since(self, tenant: str, what: OfSessions) -> int | None:
        """Where to begin; None where the ledger has nothing."""
        oldest = await self._names.oldest(tenant)
        return None if oldest is None else max(oldest, what.since)

    def _until(self, what: OfSessions) -> int:
        now = self._clock() + 1
        return now if what.until is None else min(what.until, now)


def _windows(since: int, until: int) -> Iterator[tuple[int, int]]:
    while since < until:
        end = min(since + _DAY_MS, until)
        yield since, end
        since = end
