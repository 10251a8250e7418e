"""Taking a session for a turn: in line here, by lease against other replicas; cache before database.

In a replica messages are answered in the order in which they came. Between replicas the lease goes round: each replica
with a message that waits has one place in the lease's line.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from signalbox.common.cache import Cache, CacheUnavailable, Place, StoredValue, key
from signalbox.common.context import Deadline
from signalbox.common.errors import Unavailable
from signalbox.common.record import record
from signalbox.workflow.errors import SessionBusy
from signalbox.workflow.ports import SessionStore
from signalbox.workflow.records import Session, SessionState
from signalbox.workflow.settings import WorkflowSettings

_LOG = logging.getLogger(__name__)

Policy = Literal["queue", "reject", "interrupt"]

_GIVING_BACK_MS = 50
_LOOK_AGAIN_MS = 1_000
"""Who waits for a lease asks for it at least this often, which also keeps its place in the line."""
_LISTEN_MS = 30_000
_LISTEN_AGAIN_S = 0.5


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
    standing: bool = False
    """Whether that turn itself still waits, for the lease."""

    @property
    def behind(self) -> int:
        """Turns that wait here."""
        return self.waiting if self.standing else self.waiting - 1


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
        self._renewals: set[_Renewal] = set()
        self._listener: asyncio.Task[None] | None = None
        self._cache_down = False

    def start(self) -> None:
        """Hear at once, and not only when leases are renewed, that a turn of this replica is to stop."""
        self._listener = asyncio.create_task(self._listen(), name="turn-cancels")

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
        waits = line.waiting > 1
        try:
            if waits:
                # Nothing is awaited before the place in line is taken: who came first is answered first.
                self._may_wait(session_id, line, policy)
                await self._stand(tenant, session_id, line)
            try:
                async with asyncio.timeout(deadline.remaining()):
                    await line.lock.acquire()
            except TimeoutError:
                raise SessionBusy(session_id) from None
            line.stop = on_cancel
            try:
                name = _Name(tenant, session_id, f"{self._owner}/{turn_id}")
                # Who has waited here stands in line at once, so that other replicas take turns with this one.
                line.standing = waits
                async with self._leased(name, line, deadline, policy, on_cancel) as held:
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

    async def request_cancel(self, tenant: str, session_id: str, turn_id: str = "") -> bool:
        """Ask whichever replica runs a turn of the session, or this very turn, to stop it."""
        return await self._cache.leases.request_cancel(_lease_key(tenant, session_id), turn_id)

    async def drain(self) -> None:
        """Wait until every session that was held has been given back."""
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)
        await asyncio.gather(*self._giving_back, return_exceptions=True)

    def _may_wait(self, session_id: str, line: _Line, policy: Callable[[Session | None], "Policy"]) -> None:
        if line.waiting - 2 >= self._settings.session_queue:
            raise SessionBusy(session_id)
        chosen = policy(line.session)
        if chosen == "reject":
            raise SessionBusy(session_id)
        if chosen == "interrupt" and line.stop is not None:
            line.stop()

    async def _stand(self, tenant: str, session_id: str, line: _Line) -> None:
        """Count one more that waits here, with those that wait in other replicas."""
        lease, limit = _lease_key(tenant, session_id), self._settings.session_queue
        with suppress(Unavailable):
            if not await self._cache.leases.stand(lease, self._owner, line.behind, limit):
                raise SessionBusy(session_id)

    @asynccontextmanager
    async def _leased(
        self,
        name: "_Name",
        line: _Line,
        deadline: Deadline,
        policy: Callable[[Session | None], "Policy"],
        on_cancel: Callable[[], object],
    ) -> AsyncIterator[HeldSession]:
        try:
            held = await self._acquire(name, line, deadline, policy)
        except BaseException:
            # Whether it was granted, handed or neither: what this turn has of the lease goes to who waits.
            self._begin_giving_back(name, None)
            raise
        finally:
            line.standing = False
        renewal = _Renewal(self._cache, self._settings, name, self._owner, line, on_cancel)
        if held.leased:
            self._renewals.add(renewal)
            renewal.start()
        try:
            yield held
        finally:
            renewal.stop()
            self._renewals.discard(renewal)
            if held.leased:
                # Not awaited: the reply does not wait for the cache. The database is what decides.
                self._begin_giving_back(name, held.after)

    async def _acquire(
        self,
        name: "_Name",
        line: _Line,
        deadline: Deadline,
        policy: Callable[[Session | None], "Policy"],
    ) -> HeldSession:
        leases, settings = self._cache.leases, self._settings
        # Who has waited here was counted then.
        limit = 0 if line.standing else settings.session_queue
        chosen: Policy | None = None
        while True:
            place = Place(self._owner, line.waiting - 1, limit, line.standing)
            try:
                grant = await leases.acquire(
                    name.lease, name.holder, settings.lease_ttl_ms, name.value, place
                )
                self._note_cache(down=False)
                if grant.acquired:
                    if grant.value is not None:
                        return HeldSession(_unpack(grant.value), leased=True, fresh=False)
                    return HeldSession(await self._load(name), leased=True, fresh=True)
                remaining_ms = int(deadline.remaining() * 1000)
                if grant.full or chosen == "reject" or remaining_ms <= 0:
                    raise SessionBusy(name.session_id)
                if chosen is None:
                    cached = grant.value
                    chosen = policy(await self._load(name) if cached is None else _unpack(cached))
                    if chosen == "interrupt":
                        await leases.request_cancel(name.lease)
                    if chosen != "reject" and not line.standing:
                        line.standing = True
                        continue
                limit = 0
                # A turn that has been answered may still be giving its lease back: nobody is refused for that.
                longest = _GIVING_BACK_MS if chosen == "reject" else _LOOK_AGAIN_MS
                await leases.wait(name.lease, min(remaining_ms, longest), name.holder)
            except CacheUnavailable as error:
                self._note_cache(down=True, reason=error.detail)
                return HeldSession(await self._load(name), leased=False, fresh=True)

    async def _load(self, name: "_Name") -> Session | None:
        return await self._store.load(name.tenant, name.session_id)

    def _begin_giving_back(self, name: "_Name", after: Session | None) -> None:
        task = asyncio.create_task(self._give_back(name, after))
        self._giving_back.add(task)
        task.add_done_callback(self._giving_back.discard)

    async def _give_back(self, name: "_Name", after: Session | None) -> None:
        put = None
        if after is not None:
            put = StoredValue(name.value, _pack(after), self._settings.session_cache_ms)
        try:
            await self._cache.leases.release(name.lease, name.holder, put, self._owner)
        except Unavailable as error:
            self._note_cache(down=True, reason=error.detail)

    async def _listen(self) -> None:
        while True:
            try:
                if await self._cache.leases.cancels(self._owner, _LISTEN_MS):
                    for renewal in list(self._renewals):
                        renewal.look()
            except Unavailable:
                await asyncio.sleep(_LISTEN_AGAIN_S)

    def _note_cache(self, *, down: bool, reason: str = "") -> None:
        if down != self._cache_down:
            self._cache_down = down
            _LOG.warning(
                f"the cache is down, sessions are read from the database: {reason}"
                if down
                else "the cache answers again"
            )


@record
class _Name:
    """A turn that takes a session."""

    tenant: str
    session_id: str
    holder: str

    @property
    def lease(self) -> str:
        """The session's lease."""
        return _lease_key(self.tenant, self.session_id)

    @property
    def value(self) -> str:
        """The session's cached copy."""
        return _value_key(self.tenant, self.session_id)


class _Renewal:
    """Keeps a lease while its turn runs. Most turns end before the first renewal, and pay for a timer only."""

    def __init__(
        self,
        cache: Cache,
        settings: WorkflowSettings,
        name: _Name,
        owner: str,
        line: _Line,
        on_cancel: Callable[[], object],
    ) -> None:
        self._cache = cache
        self._settings = settings
        self._name = name
        self._owner = owner
        self._line = line
        self._on_cancel = on_cancel
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._asked = False

    def start(self) -> None:
        """Renew from now on."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._settings.lease_renew_ms / 1000, self._begin)

    def stop(self) -> None:
        """Renew no more."""
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()

    def look(self) -> None:
        """Renew out of turn: somebody says that a turn of this replica is to stop."""
        self._run(self._once())

    def _begin(self) -> None:
        self._run(self._renew())

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _renew(self) -> None:
        while True:
            await self._once()
            await asyncio.sleep(self._settings.lease_renew_ms / 1000)

    async def _once(self) -> None:
        try:
            state = await self._cache.leases.renew(
                self._name.lease,
                self._name.holder,
                self._settings.lease_ttl_ms,
                self._owner,
                self._line.behind,
            )
        except Unavailable:
            # The database still decides who commits.
            _LOG.debug("cannot renew a lease")
            return
        if state.cancel_requested and not self._asked:
            # The lease is kept meanwhile: a turn that stops may have to wait for a write.
            self._asked = True
            self._on_cancel()


_FIELDS = tuple(name for name in Session.__dataclass_fields__ if name != "state")


def _lease_key(tenant: str, session_id: str) -> str:
    return key("lease", tenant, session_id)


def _value_key(tenant: str, session_id: str) -> str:
    return key("session", tenant, session_id)


def _pack(session: Session) -> bytes:
    fields = {name: getattr(session, name) for name in _FIELDS}
    return orjson.dumps({**fields, "state": session.state.model_dump(mode="json", exclude_defaults=True)})


def _unpack(raw: bytes) -> Session:
    fields = orjson.loads(raw)
    state = SessionState.model_validate(fields.pop("state"))
    # A replica of a later release may have put what this one does not know.
    return Session(**{name: fields[name] for name in _FIELDS if name in fields}, state=state)
