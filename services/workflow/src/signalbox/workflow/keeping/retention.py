"""Retention: sessions whose time is over are deleted, some at a time, by one replica, as if somebody had deleted them.

Each turn says until when its session is kept, in the session's own row. So what is over is found by an index, and is
forgotten in every service by the same way as any deletion, in transactions of one session each: no statement grows with
what there is to delete.
"""

import logging
from contextlib import suppress

from signalbox.common.auth import SYSTEM_TENANT
from signalbox.common.cache import Cache, key
from signalbox.common.errors import Unavailable
from signalbox.common.ids import now_ms
from signalbox.common.storage import PreconditionFailed
from signalbox.workflow.background.ticker import Ticker
from signalbox.workflow.keeping.erasing import Eraser
from signalbox.workflow.keeping.ports import ExpiredSessions

_LOG = logging.getLogger(__name__)

_DAY_MS = 86_400_000
_LOOK_EVERY_S = 30.0
_BATCH = 50
_LEASE_MS = 60_000


class Retention:
    """Deletes what has been kept for long enough. ``owner`` names this replica."""

    def __init__(self, sessions: ExpiredSessions, eraser: Eraser, cache: Cache, owner: str) -> None:
        self._sessions = sessions
        self._eraser = eraser
        self._leases = cache.leases
        self._owner = owner
        self._ticker = Ticker("retention", self._look, every_s=_LOOK_EVERY_S)

    def start(self) -> None:
        """Look for what is over, from now on."""
        self._ticker.start()

    async def stop(self) -> None:
        """Stop; another replica goes on."""
        await self._ticker.stop()

    async def delete_due(self) -> int:
        """Delete what is over now, a batch of it; returns how many sessions were looked at.

        Two replicas that do so at once delete each session once; the lease only saves their work.
        """
        lease = key("lease", SYSTEM_TENANT, "retention")
        with suppress(Unavailable):
            if not (await self._leases.acquire(lease, self._owner, _LEASE_MS)).acquired:
                return 0
        due = await self._sessions.kept_long_enough(now_ms(), _BATCH)
        for session in due:
            with suppress(PreconditionFailed):
                # Its last call of a model was within a day of its last turn.
                await self._eraser.session(session, until=session.updated_at + _DAY_MS)
        if due:
            _LOG.info("%d sessions were deleted: their time was over", len(due))
        return len(due)

    async def _look(self) -> bool:
        return await self.delete_due() == _BATCH
