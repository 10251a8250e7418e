"""Taking a session for a turn: in line here, by lease against other replicas; cache before database."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Literal

import orjson

from signalbox.common.cache import Cache, CacheUnavailable, StoredValue, key
from signalbox.common.context import Deadline
from signalbox.common.errors import Unavailable
from signalbox.workflow.errors import SessionBusy
from signalbox.workflow.ports import SessionStore
from signalbox.workflow.records import Session, SessionState
from signalbox.workflow.settings import WorkflowSettings

_LOG = logging.getLogger(__name__)

Policy = Literal["queue", "reject", "interrupt"]

_GIVING_BACK_MS = 50


@dataclass(slots=True)
class _Line:
    """Who waits for a session in this replica."""

    lock: asyncio.Lock
    waiting: int = 0
    """Turns that want the session, with the one that has it."""
    session: Session | None = None
    """As the last turn took it."""
    stop: Callable[[], object] | None = None
    """Asks the turn that has the session to stop."""


@dataclass(slots=True)
class HeldSession:
    """A session taken for one turn. ``session`` is None where there is none yet."""

    session: Session | None
    leased: bool
    fresh: bool
    """Whether ``session`` was read from the database, not from the cache."""
    after: Session | None = None
    """What to leave in the cache; set by the turn when it has committed."""


class SessionKeeper:
    """Takes sessions for turns and gives them back."""

    def __init__(
        self,
        store: SessionStore,
        cache: Cache,
        settings: WorkflowSettings,
        owner: str,
    ) -> None:
        self._store = store
        self._cache = cache
        self._settings = settings
        self._owner = owner
        self._lines: dict[tuple[str, str], _Line] = {}
        self._giving_back: set[asyncio.Task[None]] = set()
        self._cache_down = False

    @asynccontextmanager
    async def take(
        self,
        tenant: str,
        session_id: str,
        turn_id: str,
        deadline: Deadline,
        policy: Callable[[Session | None], "Policy"],
        on_cancel: Callable[[], object],
    ) -> AsyncIterator[HeldSession]:
        """Hold the session while the block runs; ``on_cancel`` is called when somebody asks the turn to stop.

        Raises:
            SessionBusy: policy or the queue's length forbids waiting, or the deadline came first.
        """
        line = self._lines.setdefault((tenant, session_id), _Line(asyncio.Lock()))
        line.waiting += 1
        try:
            if line.waiting > 1:
                # Nothing is awaited before the place in line is taken: who came first is answered first.
                self._may_wait(session_id, line, policy)
            try:
                async with asyncio.timeout(deadline.remaining()):
                    await line.lock.acquire()
            except TimeoutError:
                raise SessionBusy(session_id) from None
            line.stop = on_cancel
            try:
                async with self._leased(tenant, session_id, turn_id, deadline, policy, on_cancel) as held:
                    line.session = held.session
                    yield held
            finally:
                line.stop = None
                line.lock.release()
        finally:
            line.waiting -= 1
            if line.waiting == 0:
                self._lines.pop((tenant, session_id), None)

    async def forget(self, tenant: str, session_id: str) -> None:
        """Drop the cached copy."""
        with suppress(Unavailable):
            await self._cache.values.delete(_value_key(tenant, session_id))

    async def request_cancel(self, tenant: str, session_id: str) -> bool:
        """Ask whichever replica runs a turn of the session to stop it."""
        return await self._cache.leases.request_cancel(_lease_key(tenant, session_id))

    async def drain(self) -> None:
        """Wait until every session that was held has been given back."""
        await asyncio.gather(*self._giving_back, return_exceptions=True)

    def _may_wait(self, session_id: str, line: _Line, policy: Callable[[Session | None], "Policy"]) -> None:
        if line.waiting - 2 >= self._settings.session_queue:
            raise SessionBusy(session_id)
        chosen = policy(line.session)
        if chosen == "reject":
            raise SessionBusy(session_id)
        if chosen == "interrupt" and line.stop is not None:
            line.stop()

    @asynccontextmanager
    async def _leased(
        self,
        tenant: str,
        session_id: str,
        turn_id: str,
        deadline: Deadline,
        policy: Callable[[Session | None], "Policy"],
        on_cancel: Callable[[], object],
    ) -> AsyncIterator[HeldSession]:
        holder = f"{self._owner}/{turn_id}"
        held = await self._acquire(tenant, session_id, holder, deadline, policy)
        renewal = _Renewal(self._cache, self._settings, _lease_key(tenant, session_id), holder, on_cancel)
        if held.leased:
            renewal.start()
        try:
            yield held
        finally:
            renewal.stop()
            if held.leased:
                # Not awaited: the reply does not wait for the cache. The database is what decides.
                task = asyncio.create_task(self._give_back(tenant, session_id, holder, held.after))
                self._giving_back.add(task)
                task.add_done_callback(self._giving_back.discard)

    async def _acquire(
        self,
        tenant: str,
        session_id: str,
        holder: str,
        deadline: Deadline,
        policy: Callable[[Session | None], "Policy"],
    ) -> HeldSession:
        lease, value = _lease_key(tenant, session_id), _value_key(tenant, session_id)
        chosen: Policy | None = None
        while True:
            try:
                grant = await self._cache.leases.acquire(lease, holder, self._settings.lease_ttl_ms, value)
            except Unavailable as error:
                self._note_cache(down=True, reason=error.detail)
                return HeldSession(await self._store.load(tenant, session_id), leased=False, fresh=True)
            self._note_cache(down=False)
            if grant.acquired:
                if grant.value is not None:
                    return HeldSession(_unpack(grant.value), leased=True, fresh=False)
                return HeldSession(await self._store.load(tenant, session_id), leased=True, fresh=True)
            if chosen == "reject":
                raise SessionBusy(session_id)
            remaining_ms = int(deadline.remaining() * 1000)
            if remaining_ms <= 0:
                raise SessionBusy(session_id)
            first, chosen = chosen is None, chosen or policy(await self._store.load(tenant, session_id))
            with suppress(CacheUnavailable):
                if first and chosen == "interrupt":
                    await self._cache.leases.request_cancel(lease)
                # A turn that has been answered may still be giving its lease back: nobody is refused for that.
                longest = _GIVING_BACK_MS if chosen == "reject" else 1_000
                await self._cache.leases.wait(lease, min(remaining_ms, longest))

    async def _give_back(self, tenant: str, session_id: str, holder: str, after: Session | None) -> None:
        put = None
        if after is not None:
            put = StoredValue(_value_key(tenant, session_id), _pack(after), self._settings.session_cache_ms)
        try:
            await self._cache.leases.release(_lease_key(tenant, session_id), holder, put)
        except Unavailable as error:
            self._note_cache(down=True, reason=error.detail)

    def _note_cache(self, *, down: bool, reason: str = "") -> None:
        if down != self._cache_down:
            self._cache_down = down
            _LOG.warning(
                f"the cache is down, sessions are read from the database: {reason}"
                if down
                else "the cache answers again"
            )


class _Renewal:
    """Keeps a lease while its turn runs. Most turns end before the first renewal, and pay for a timer only."""

    def __init__(
        self,
        cache: Cache,
        settings: WorkflowSettings,
        lease: str,
        holder: str,
        on_cancel: Callable[[], object],
    ) -> None:
        self._cache = cache
        self._settings = settings
        self._lease = lease
        self._holder = holder
        self._on_cancel = on_cancel
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Renew from now on."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._settings.lease_renew_ms / 1000, self._begin)

    def stop(self) -> None:
        """Renew no more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _begin(self) -> None:
        self._task = asyncio.create_task(self._renew())

    async def _renew(self) -> None:
        while True:
            try:
                state = await self._cache.leases.renew(self._lease, self._holder, self._settings.lease_ttl_ms)
                if state.cancel_requested:
                    self._on_cancel()
                    return
            except Unavailable:
                # The database still decides who commits.
                _LOG.debug("cannot renew a lease")
            await asyncio.sleep(self._settings.lease_renew_ms / 1000)


def _lease_key(tenant: str, session_id: str) -> str:
    return key("lease", tenant, session_id)


def _value_key(tenant: str, session_id: str) -> str:
    return key("session", tenant, session_id)


def _pack(session: Session) -> bytes:
    fields = {name: getattr(session, name) for name in Session.__dataclass_fields__ if name != "state"}
    return orjson.dumps({**fields, "state": session.state.model_dump(mode="json", exclude_defaults=True)})


def _unpack(raw: bytes) -> Session:
    fields = orjson.loads(raw)
    return Session(**{**fields, "state": SessionState.model_validate(fields["state"])})
