"""The long poll that the services' replicas follow Admin by."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

from signalbox.admin.feed import StateFeed
from signalbox.admin.ports import ReplicaStore
from signalbox.admin.records import Replica, State
from signalbox.common.errors import SignalboxError
from signalbox.common.ids import now_ms
from signalbox.contracts.admin import ChangesReply, ChangesRequest, ServiceName, SnapshotRef

_VERIFY_KEYS: frozenset[ServiceName] = frozenset({"workflow", "llm_gateway", "tools"})


class Following:
    """Answers the polls, and keeps book of who polls."""

    def __init__(self, feed: StateFeed, replicas: ReplicaStore, *, grace_s: float) -> None:
        self._feed = feed
        self._replicas = replicas
        self._grace_ms = int(grace_s * 1000)

    async def poll(self, request: ChangesRequest, gone: Coroutine[Any, Any, None]) -> ChangesReply:
        """What is new after ``request.after``: at once if there is anything, else when there is.

        ``gone`` returns when the replica no longer waits for the answer: it has ended, and is forgotten.

        Raises:
            StateUnknown: the database has not been reached yet.
        """
        watch = asyncio.ensure_future(gone)
        try:
            state = await self._feed.known(request.after)
            await self._replicas.saw(self._replica(request, state))
            if state.revision == request.after:
                state = await self._wait(request, watch)
        except asyncio.CancelledError:
            await self._forget(request.instance)
            raise
        finally:
            watch.cancel()
        return self._reply(request, state)

    async def _wait(self, request: ChangesRequest, watch: "asyncio.Future[None]") -> State:
        waiting = asyncio.ensure_future(self._feed.wait(request.after, request.wait_ms / 1000))
        try:
            either: set[asyncio.Future[Any]] = {waiting, watch}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                await self._forget(request.instance)
                return await self._feed.known(request.after)
            return waiting.result()
        finally:
            waiting.cancel()

    async def _forget(self, instance: str) -> None:
        with contextlib.suppress(SignalboxError):
            # Should this fail, the lease ends by itself.
            await self._replicas.gone(instance)

    def _replica(self, request: ChangesRequest, state: State) -> Replica:
        asked_for = {preparation.ref for preparation in state.preparations}
        return Replica(
            request.service,
            request.instance,
            request.after,
            frozenset(ref for ref in request.loaded if ref in asked_for),
            now_ms() + request.wait_ms + self._grace_ms,
        )

    def _reply(self, request: ChangesRequest, state: State) -> ChangesReply:
        changes, after = self._feed.changes, request.after
        # A follower that is ahead was told by a database that has been put back since: it gets everything.
        partial = request.partial and after <= state.revision and changes.covers(after)
        same_keys = partial and changes.same_keys(after)
        now = now_ms()
        prepare: dict[SnapshotRef, None] = {
            preparation.ref: None for preparation in state.preparations if preparation.expires_at > now
        }
        return ChangesReply(
            revision=state.revision,
            releases=list(changes.releases(after) if partial else state.releases),
            prepare=list(prepare),
            keys=list(state.keys) if request.service in _VERIFY_KEYS and not same_keys else [],
            partial=partial,
            same_keys=same_keys,
        )
