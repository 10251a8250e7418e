"""The change feed: a long poll that keeps releases and keys current, and says which snapshots are loaded."""

import asyncio
import logging
import secrets
from pathlib import Path
from typing import Any

from signalbox.common.auth import KeyRing
from signalbox.common.clients import AdminClient
from signalbox.common.errors import NotFound, SignalboxError, Unavailable
from signalbox.common.kept_files import write_atomically
from signalbox.common.record import record
from signalbox.common.snapshots.store import Snapshots
from signalbox.contracts.admin import ChangesReply, ChangesRequest, ReleasePointer, ServiceName, SnapshotRef
from signalbox.contracts.identity import KeyRecord

_LOG = logging.getLogger(__name__)

_RETRY_S = 0.5
_WAIT_MS = 3_000
"""Well under the 5 s in which a revoked key must stop working, should a wake-up be missed."""


class NoRelease(NotFound):
    """Nothing is published under this name."""

    code = "no_release"


@record
class _Told:
    """What a follower keeps of the replies, whole; lists that a reply did not change are the same objects."""

    releases: list[ReleasePointer]
    keys: list[KeyRecord]

    def then(self, reply: ChangesReply) -> "_Told":
        """The same after a reply, which may tell what changed only."""
        releases = reply.releases
        if reply.partial:
            named = {_name(pointer): pointer for pointer in (*self.releases, *reply.releases)}
            releases = list(named.values()) if reply.releases else self.releases
        return _Told(releases, self.keys if reply.same_keys else reply.keys)


def _name(pointer: ReleasePointer) -> tuple[str, str, str]:
    return pointer.tenant, pointer.environment, pointer.workflow_id


class ConfigFeed:
    """The state of the tenants that a service needs, as Admin last told it.

    A change is applied after every snapshot that it makes active is loaded, so that no request meets a cold
    one. A service without ``snapshots`` follows releases and keys only.
    """

    def __init__(
        self,
        service: ServiceName,
        environment: str,
        admin: AdminClient,
        directory: Path,
        *,
        snapshots: Snapshots[Any] | None = None,
        keys: KeyRing | None = None,
    ) -> None:
        self._service: ServiceName = service
        self._environment = environment
        self._admin = admin
        self._file = directory / "feed.json"
        self._snapshots = snapshots
        self._keys = keys
        self._instance = f"{service}-{secrets.token_hex(6)}"
        self._task: asyncio.Task[None] | None = None
        self._reachable = True
        self._has_state = False
        self._prepare: list[SnapshotRef] = []
        self._told = _Told([], [])
        """The whole state as it was last told, and is kept on disk."""
        self._active: frozenset[SnapshotRef] = frozenset()
        self._preloaded: frozenset[SnapshotRef] = frozenset()
        """Of the active ones, those that were ready once, in memory or on disk: of many, most stay as they are."""
        self._releases: dict[tuple[str, str], ReleasePointer] = {}
        self._defaults: dict[str, ReleasePointer] = {}
        self.revision = -1

    def release(self, tenant: str, workflow_id: str | None) -> ReleasePointer:
        """The active release of a workflow; without a name, of the tenant's default workflow.

        Raises:
            NoRelease: nothing is published under this name.
        """
        pointer = (
            self._defaults.get(tenant) if workflow_id is None else self._releases.get((tenant, workflow_id))
        )
        if pointer is None:
            name = f"workflow '{workflow_id}'" if workflow_id else "workflow"
            raise NoRelease(f"No {name} is published; publish one with 'signalbox publish FILE'.")
        return pointer

    def releases(self, tenant: str) -> list[ReleasePointer]:
        """All active releases of a tenant."""
        return [pointer for (owner, _), pointer in self._releases.items() if owner == tenant]

    async def start(self) -> None:
        """Apply what was last kept on disk, then follow Admin in the background."""
        kept = await asyncio.to_thread(self._read)
        if kept is not None:
            await self._apply(kept)
            self.revision = -1
        self._task = asyncio.create_task(self._follow(), name=f"{self._service}-config-feed")

    async def stop(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def check(self) -> None:
        """For ``/ready``: there is some state to serve from, fresh or kept.

        Raises:
            Unavailable: Admin has never been reached.
        """
        if not self._has_state:
            raise Unavailable("Admin has not been reached yet, and nothing is kept from before.")

    async def _follow(self) -> None:
        while True:
            try:
                await self._poll()
                self._note(reachable=True)
            except SignalboxError as error:
                self._note(reachable=False, reason=error.detail)
                await asyncio.sleep(_RETRY_S)
            except Exception:  # noqa: BLE001 - logged with its traceback
                # A bug must not leave the service with a stale config for ever.
                _LOG.exception("the config feed failed; it goes on")
                await asyncio.sleep(_RETRY_S)

    async def _poll(self) -> None:
        for ref in self._prepare:
            await self._preload(ref)
        reply = await self._admin.changes(
            ChangesRequest(
                service=self._service,
                instance=self._instance,
                after=self.revision,
                loaded=self._ready(),
                wait_ms=_WAIT_MS,
                partial=True,
            )
        )
        self._prepare = reply.prepare
        if reply.revision != self.revision:
            before = self._told
            await self._apply(reply)
            if before.releases is not self._told.releases or before.keys is not self._told.keys:
                await asyncio.to_thread(self._write, self._told)

    def _ready(self) -> list[SnapshotRef]:
        """Of those that are about to become active, the ones that are loaded: Admin asks for no others."""
        if self._snapshots is None:
            return self._prepare
        return [ref for ref in self._prepare if self._snapshots.has(ref)]

    async def _apply(self, reply: ChangesReply) -> None:
        told = self._told.then(reply)
        if told.releases is not self._told.releases:
            await self._apply_releases(told.releases, reply.prepare)
        elif self._snapshots is not None:
            self._snapshots.pin(self._active, reply.prepare)
            await self._preload_missing()
        if self._keys is not None and not reply.same_keys:
            self._keys.replace(reply.keys)
        self._told = told
        self.revision = reply.revision
        self._has_state = True

    async def _apply_releases(self, releases: list[ReleasePointer], prepare: list[SnapshotRef]) -> None:
        mine = [pointer for pointer in releases if pointer.environment == self._environment]
        self._active = frozenset(
            SnapshotRef(tenant=pointer.tenant, config_hash=pointer.config_hash) for pointer in mine
        )
        if self._snapshots is not None:
            self._snapshots.pin(self._active, prepare)
        await self._preload_missing()
        self._releases = {(pointer.tenant, pointer.workflow_id): pointer for pointer in mine}
        self._defaults = {pointer.tenant: pointer for pointer in mine if pointer.is_default}

    async def _preload_missing(self) -> None:
        known = self._preloaded & self._active
        self._preloaded = known.union([ref for ref in self._active - known if await self._preload(ref)])

    async def _preload(self, ref: SnapshotRef) -> bool:
        """Whether the snapshot is ready now."""
        if self._snapshots is None:
            return True
        try:
            await self._snapshots.preload(ref)
        except SignalboxError as error:
            # The release stays what Admin says; a request that needs the snapshot tries again, and says why.
            _LOG.warning("cannot load a snapshot: %s", error.detail, extra={"config_hash": ref.config_hash})
        except Exception:  # noqa: BLE001 - logged with its traceback
            # One that this version cannot read must not keep the others, or a revoked key, from being applied.
            _LOG.exception("cannot compile a snapshot", extra={"config_hash": ref.config_hash})
        else:
            return True
        return False

    def _note(self, *, reachable: bool, reason: str = "") -> None:
        if reachable != self._reachable:
            self._reachable = reachable
            _LOG.warning("admin is reachable again" if reachable else f"admin is not reachable: {reason}")

    def _read(self) -> ChangesReply | None:
        try:
            return ChangesReply.model_validate_json(self._file.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            _LOG.warning("ignoring a damaged feed file: %s", error)
            return None

    def _write(self, told: _Told) -> None:
        reply = ChangesReply(revision=self.revision, releases=told.releases, prepare=[], keys=told.keys)
        try:
            write_atomically(self._file, reply.model_dump_json().encode())
        except OSError as error:
            _LOG.warning("cannot keep the feed on disk: %s", error)
