"""Deleting for good: here in one transaction, elsewhere (other services, the cache) right after it and once more later.

What is to be forgotten elsewhere is a row, written with the deletion itself: a service that is away, or a kill, delays
it and loses nothing. It is forgotten a second time when everything has ended that was running at the deletion, and may
have written something after the first time.
"""

import logging
from collections.abc import Sequence
from typing import Protocol

from signalbox.common.cache import Cache
from signalbox.common.errors import SignalboxError
from signalbox.common.ids import new_id, now_ms
from signalbox.common.storage import PreconditionFailed
from signalbox.contracts.identity import Principal
from signalbox.contracts.keeping import ErasedUser, Forgotten, OfSessions
from signalbox.workflow.background.ticker import Ticker
from signalbox.workflow.errors import SessionBusy
from signalbox.workflow.following import owner_key
from signalbox.workflow.keeping.ports import ErasureStore, KeptTurns
from signalbox.workflow.ports import SessionStore
from signalbox.workflow.records import ErasureRecord, Session
from signalbox.workflow.session_log import session_log_name
from signalbox.workflow.sessions import SessionKeeper
from signalbox.workflow.turn_log import log_name

_LOG = logging.getLogger(__name__)

_DAY_MS = 86_400_000
_REPLIES_KEPT_MS = _DAY_MS + 3_600_000
"""Replies to repeated model calls are kept for a day; turns before that have none."""
_MAX_TURNS = 10_000
_DELETE_TRIES = 5
_AGAIN_MS = 30_000
_BATCH = 10
_PAGE = 100
_SUBJECT = "erasure"
"""Who asks the other services: nobody's words are written under it."""


class Forgetter(Protocol):
    """A service that keeps something of sessions; its client."""

    async def forget(self, what: OfSessions, principal: Principal) -> Forgotten:
        """Remove what names the sessions or the user. Raises SignalboxError; may be repeated."""
        ...


class Eraser:
    """Deletes sessions and erases users.

    ``late_ms`` is how long a turn that runs when its session is deleted may still write.
    """

    def __init__(
        self,
        store: SessionStore,
        kept: KeptTurns,
        erasures: ErasureStore,
        keeper: SessionKeeper,
        cache: Cache,
        forgetters: Sequence[Forgetter],
        late_ms: int,
    ) -> None:
        self._store = store
        self._kept = kept
        self._erasures = erasures
        self._keeper = keeper
        self._cache = cache
        self._forgetters = forgetters
        self._late_ms = late_ms
        self._ticker = Ticker("erasures", self._look)

    def start(self) -> None:
        """Look for what is still to be forgotten, from now on."""
        self._ticker.start()

    async def stop(self) -> None:
        """Stop; what was being forgotten is forgotten again by another replica or the next process."""
        await self._ticker.stop()

    async def session(self, session: Session, until: int | None = None) -> bool:
        """Delete a session for good; false when something of it is still to be forgotten elsewhere.

        ``until``: nothing of it is newer; None is now.

        Raises:
            PreconditionFailed: the session has moved on meanwhile; nothing was deleted.
        """
        now = now_ms()
        recent = await self._erasures.recent_turns(session, now - _REPLIES_KEPT_MS, _MAX_TURNS)
        what = OfSessions(
            session_ids=[session.session_id],
            turn_ids=recent,
            subjects=[session.subject],
            since=session.created_at,
            until=until,
        )
        erasure = self._erasure(session.tenant, what, now)
        await self._store.delete(session, erasure, now)
        return await self._forget(erasure, now)

    async def user(self, tenant: str, user_id: str) -> ErasedUser:
        """Erase a user: every session of it, and what names it elsewhere.

        Raises:
            SessionBusy: turns of a session kept being committed meanwhile; ask again.
        """
        # First, so that none makes another session of the user's.
        await self._erasures.delete_schedules(tenant, user_id)
        erased, done, after = 0, True, ""
        while page := await self._kept.sessions_of(tenant, user_id, after, _PAGE):
            for session in page:
                done &= await self._whole_session(session)
                erased += 1
            after = page[-1].session_id
        now = now_ms()
        erasure = self._erasure(tenant, OfSessions(user_id=user_id), now)
        await self._erasures.add(erasure)
        done &= await self._forget(erasure, now)
        return ErasedUser(status="erased" if done else "erasing", sessions=erased)

    async def forget_due(self) -> int:
        """Forget what is due now; returns how many erasures were looked at."""
        now = now_ms()
        taken = await self._erasures.take_due(now, now + _AGAIN_MS, _BATCH)
        for erasure in taken:
            await self._forget(erasure, now)
        return len(taken)

    async def _look(self) -> bool:
        return await self.forget_due() == _BATCH

    def _erasure(self, tenant: str, what: OfSessions, now: int) -> ErasureRecord:
        return ErasureRecord(tenant, new_id("erasure"), what.model_dump_json(), now + _AGAIN_MS, now)

    async def _whole_session(self, session: Session) -> bool:
        for _ in range(_DELETE_TRIES):
            found = await self._store.load(session.tenant, session.session_id)
            if found is None or found.status == "deleted":
                return True
            try:
                return await self.session(found)
            except PreconditionFailed:
                continue
        raise SessionBusy(session.session_id)

    async def _forget(self, erasure: ErasureRecord, now: int) -> bool:
        """Forget it everywhere else; false when somebody could not be told, who is told later."""
        what = OfSessions.model_validate_json(erasure.what)
        asking = Principal(tenant=erasure.tenant, subject=_SUBJECT)
        try:
            await self._forget_cached(erasure.tenant, what)
            for forgetter in self._forgetters:
                await forgetter.forget(what, asking)
        except SignalboxError as error:
            _LOG.warning("something deleted is not forgotten everywhere yet: %s", error.problem().code)
            return False
        late = erasure.created_at + self._late_ms
        if now < late:
            await self._erasures.put_off(erasure, late)
        else:
            await self._erasures.end(erasure)
        return True

    async def _forget_cached(self, tenant: str, what: OfSessions) -> None:
        logs = [log_name(tenant, turn_id) for turn_id in what.turn_ids]
        owners = [owner_key(tenant, turn_id) for turn_id in what.turn_ids]
        for session_id in what.session_ids:
            await self._keeper.forget(tenant, session_id)
            logs.append(session_log_name(tenant, session_id))
        await self._cache.logs.delete(*logs)
        await self._cache.values.delete(*owners)
