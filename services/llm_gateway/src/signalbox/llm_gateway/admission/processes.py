"""The gateway processes that the database knows, for the one case in which Redis knows none."""

from collections.abc import Callable
from typing import Protocol

from signalbox.common.storage import Database, Statement, Write

SILENT_MS = 15_000
"""A process that the database has not heard of for so long is taken for gone."""

_FORGET_MS = 86_400_000

_LIVE = Statement(
    """
    INSERT INTO llm_processes (owner, heartbeat_at) VALUES (:owner, :now)
    ON CONFLICT (owner) DO UPDATE SET heartbeat_at = excluded.heartbeat_at
    """
)
_FORGET = Statement("DELETE FROM llm_processes WHERE heartbeat_at < :before")
_LEAVE = Statement("DELETE FROM llm_processes WHERE owner = :owner")
_LIVING = Statement("SELECT owner FROM llm_processes WHERE heartbeat_at > :since")


class ProcessRegistry(Protocol):
    """Which processes live. Every call may raise StorageUnavailable."""

    async def live(self, owner: str) -> None:
        """This one does."""
        ...

    async def leave(self, owner: str) -> None:
        """It ends."""
        ...

    async def living(self) -> set[str]:
        """All that do."""
        ...


class DatabaseProcesses:
    """``ProcessRegistry`` in the gateway's database; ``clock`` gives epoch milliseconds."""

    def __init__(self, database: Database, clock: Callable[[], int]) -> None:
        self._database = database
        self._clock = clock

    async def live(self, owner: str) -> None:
        """See ``ProcessRegistry.live``."""
        now = self._clock()
        await self._database.write(
            Write(_LIVE, {"owner": owner, "now": now}), Write(_FORGET, {"before": now - _FORGET_MS})
        )

    async def leave(self, owner: str) -> None:
        """See ``ProcessRegistry.leave``."""
        await self._database.write(Write(_LEAVE, {"owner": owner}))

    async def living(self) -> set[str]:
        """See ``ProcessRegistry.living``."""
        rows = await self._database.fetch_all(_LIVING, {"since": self._clock() - SILENT_MS})
        return {row["owner"] for row in rows}
