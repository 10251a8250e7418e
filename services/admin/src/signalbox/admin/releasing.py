"""From a built snapshot to the active release: prepare on every replica, then flip the pointer."""

import asyncio
import logging

from signalbox.admin.errors import ReleaseContended, ReplicasNotReady
from signalbox.admin.feed import StateFeed
from signalbox.admin.ports import ConfigStore, ReplicaStore, StateStore
from signalbox.admin.records import AuditEntry, Preparation, Release, Replica, Snapshot
from signalbox.admin.replicas import all_become
from signalbox.common.ids import new_id, now_ms
from signalbox.common.storage import DuplicateKey, PreconditionFailed
from signalbox.contracts.identity import Principal

_LOG = logging.getLogger(__name__)

_ATTEMPTS = 5
"""Flips that other replicas of Admin may win before this one gives up; its own take turns."""

_MARGIN_MS = 30_000
"""What a preparation outlives its timeout by: it is withdrawn long before, unless this process dies."""


class Propagation:
    """Tells the followers of a change, and waits until they have applied it."""

    def __init__(self, feed: StateFeed, replicas: ReplicaStore, *, timeout_s: float) -> None:
        self._feed = feed
        self._replicas = replicas
        self._timeout_s = timeout_s

    async def announce(self) -> int:
        """Wake the followers; returns the revision that they are told."""
        return (await self._feed.refresh()).revision

    async def take_effect(self) -> None:
        """Wake the followers and return when all live ones have applied the change, or the time is up.

        The change is made in any case: a replica that is slow applies it later.
        """
        revision = await self.announce()
        behind = await all_become(
            self._replicas, lambda replica: replica.revision >= revision, self._timeout_s
        )
        if behind:
            _LOG.warning("revision %d is not applied yet by %s", revision, ", ".join(names(behind)))


class Releasing:
    """Activates snapshots."""

    def __init__(
        self,
        config: ConfigStore,
        state: StateStore,
        replicas: ReplicaStore,
        propagation: Propagation,
        *,
        ready_timeout_s: float,
    ) -> None:
        self._config = config
        self._state = state
        self._replicas = replicas
        self._propagation = propagation
        self._ready_timeout_s = ready_timeout_s
        self._flipping = asyncio.Lock()

    async def release(
        self, principal: Principal, snapshot: Snapshot, environment: str, message: str
    ) -> tuple[Release, bool]:
        """Make a built snapshot the active release of its workflow; says whether it was not before.

        Raises:
            ReplicasNotReady: a live replica did not load it in time; nothing has changed.
            ReleaseContended: others activated releases of the workflow at the same time.
        """
        active = await self._config.active(snapshot.tenant, environment, snapshot.workflow_id)
        if active is not None and active.config_hash == snapshot.config_hash:
            return active, False
        preparation = Preparation(
            new_id("prep"),
            snapshot.ref,
            now_ms() + int(self._ready_timeout_s * 1000) + _MARGIN_MS,
        )
        await self._state.prepare(preparation)
        activated = False
        try:
            await self._loaded_everywhere(snapshot)
            async with self._flipping:
                release, activated = await self._activate(
                    principal, snapshot, environment, message, preparation
                )
        finally:
            if not activated:
                await self._state.withdraw(preparation)
                await self._propagation.announce()
        await self._propagation.take_effect()
        return release, activated

    async def _loaded_everywhere(self, snapshot: Snapshot) -> None:
        await self._propagation.announce()
        behind = await all_become(
            self._replicas, lambda replica: snapshot.ref in replica.loaded, self._ready_timeout_s
        )
        if behind:
            raise ReplicasNotReady(snapshot.config_hash, names(behind))

    async def _activate(
        self,
        principal: Principal,
        snapshot: Snapshot,
        environment: str,
        message: str,
        preparation: Preparation,
    ) -> tuple[Release, bool]:
        for _ in range(_ATTEMPTS):
            active = await self._config.active(snapshot.tenant, environment, snapshot.workflow_id)
            if active is not None and active.config_hash == snapshot.config_hash:
                return active, False
            audit = AuditEntry.by(
                principal,
                "release.activate",
                snapshot.workflow_id,
                environment=environment,
                config_hash=snapshot.config_hash,
                before=None if active is None else active.config_hash,
                message=message,
            )
            release = Release(
                tenant=snapshot.tenant,
                environment=environment,
                workflow_id=snapshot.workflow_id,
                number=1 if active is None else active.number + 1,
                release_id=new_id("rel"),
                config_hash=snapshot.config_hash,
                message=message,
                created_at=audit.at,
                created_by=principal.subject,
            )
            try:
                await self._config.activate(release, active, preparation.preparation_id, audit)
            except (PreconditionFailed, DuplicateKey):
                continue
            return release, True
        raise ReleaseContended(snapshot.workflow_id)


def names(replicas: list[Replica]) -> list[str]:
    """Each replica as operators know it."""
    return sorted(f"{replica.service} ({replica.instance})" for replica in replicas)
