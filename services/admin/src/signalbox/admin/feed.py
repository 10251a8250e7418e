"""The state that every follower is told, kept in memory and in step with the database."""

import asyncio
import logging

from signalbox.admin.changes import Changes
from signalbox.admin.errors import StateUnknown
from signalbox.admin.ports import StateStore
from signalbox.admin.records import State
from signalbox.common.auth import KeyRing
from signalbox.common.errors import SignalboxError

_LOG = logging.getLogger(__name__)


class StateFeed:
    """One copy of the state for all followers of this process, who wait here for the next.

    The truth is the database's, so that any replica of Admin answers any follower. A change made by this
    process is told at once, by ``refresh``; one made by another replica is found by looking at the revision
    every ``poll_s``: one look-up per process however many wait, and nothing but PostgreSQL has to be up. With
    ``shared`` false nobody else can make changes, and nobody looks.

    ``keys`` gets the API keys of each state, so that Admin verifies them from memory like its followers.
    """

    def __init__(self, store: StateStore, keys: KeyRing, *, shared: bool, poll_s: float) -> None:
        self._store = store
        self._keys = keys
        self._shared = shared
        self._poll_s = poll_s
        self._state: State | None = None
        self.changes = Changes()
        self._changed = asyncio.Event()
        self._loading = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._failure = ""

    async def start(self) -> None:
        """Read the state if the database is there, and follow it in the background."""
        await self._look()
        self._task = asyncio.create_task(self._follow(), name="admin-state-feed")

    async def stop(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def check(self) -> None:
        """For ``/ready``: the state has been read.

        Raises:
            StateUnknown: the database has not been reached yet, or has no tables.
        """
        if self._state is None:
            raise StateUnknown(self._failure)

    async def refresh(self) -> State:
        """Read the state if it has changed, and wake those who wait for that."""
        async with self._loading:
            revision = await self._store.revision()
            if self._state is None or revision != self._state.revision:
                state = await self._store.load()
                # What was read may be newer than its number, but not than the number that is read after it.
                self.changes.note(state, await self._store.revision())
                self._state = state
                self._keys.replace(self._state.keys)
                self._changed.set()
                self._changed = asyncio.Event()
            return self._state

    async def known(self, revision: int) -> State:
        """The state at ``revision`` or later.

        A follower may have heard of a revision from another replica of Admin; it must not be told an older
        state after that.

        Raises:
            StateUnknown: the database has not been reached yet.
        """
        if self._state is None or revision > self._state.revision:
            return await self.refresh()
        return self._state

    async def wait(self, after: int, seconds: float) -> State:
        """The state as soon as it has another revision than ``after``, else as it is after ``seconds``.

        Raises:
            StateUnknown: the database has not been reached yet.
        """
        try:
            async with asyncio.timeout(seconds):
                while self._state is None or self._state.revision == after:
                    await self._changed.wait()
        except TimeoutError:
            if self._state is None:
                raise StateUnknown(self._failure) from None
        return self._state

    async def _follow(self) -> None:
        while self._shared or self._state is None:
            await asyncio.sleep(self._poll_s)
            await self._look()

    async def _look(self) -> None:
        try:
            await self.refresh()
            self._note("")
        except SignalboxError as error:
            self._note(error.detail)
        except Exception:  # noqa: BLE001 - logged with its traceback
            # A bug must not leave followers with a stale config for ever.
            _LOG.exception("reading the state failed; it is tried again")

    def _note(self, failure: str) -> None:
        if bool(failure) != bool(self._failure):
            _LOG.warning(f"the state cannot be read: {failure}" if failure else "the state can be read again")
        self._failure = failure
