"""What the Admin service needs from others: stores, the builder, the document check."""

from collections.abc import Sequence
from typing import Any, Protocol

from signalbox.admin.records import (
    AuditEntry,
    Cursor,
    Extent,
    Key,
    Preparation,
    Release,
    Replica,
    Snapshot,
    State,
    StoredDocument,
    Workflow,
)
from signalbox.contracts.admin import Artefact, BuildReply, BuildRequest, ReleasePointer
from signalbox.contracts.identity import KeyRecord
from signalbox.contracts.problem import ProblemError
from signalbox.contracts.workflow_config import WorkflowConfig


class CheckResult(Protocol):
    """What is wrong with a document; ``signalbox.common.validation`` gives it."""

    @property
    def config(self) -> WorkflowConfig | None:
        """The parsed document; None where there are errors."""
        ...

    @property
    def errors(self) -> Sequence[ProblemError]:
        """What makes it unfit."""
        ...

    @property
    def warnings(self) -> Sequence[ProblemError]:
        """What its author should look at."""
        ...


class DocumentCheck(Protocol):
    """Finds all that is wrong with a document at once, and never raises for it. Takes time: runs in a thread."""

    def __call__(self, document: dict[str, Any], /) -> CheckResult:
        """Check one document."""
        ...


class Builder(Protocol):
    """Builds what a snapshot needs: the Workflow service."""

    async def build(self, request: BuildRequest, timeout_s: float) -> BuildReply:
        """Build; errors in the reply make the snapshot unfit.

        Raises:
            HopError: the service cannot be reached, or not in time.
            ServiceCallFailed: it answered with a problem.
        """
        ...


class ConfigStore(Protocol):
    """Snapshots, workflows and releases of all tenants."""

    async def add_snapshot(self, snapshot: Snapshot, document: str, audit: AuditEntry) -> Snapshot:
        """Store a snapshot, unless it is stored already; returns the one that is."""
        ...

    async def mark_built(
        self, snapshot: Snapshot, artefacts: Sequence[Artefact], audit: AuditEntry
    ) -> Snapshot:
        """Keep what was built from a stored snapshot, and its workflow; returns the snapshot as it is then."""
        ...

    async def discard_stored(self, snapshot: Snapshot, audit: AuditEntry) -> None:
        """Remove a snapshot that turned out unfit, unless it was built by then."""
        ...

    async def snapshot(self, tenant: str, config_hash: str) -> Snapshot | None:
        """A snapshot without its document."""
        ...

    async def document(self, tenant: str, config_hash: str) -> StoredDocument | None:
        """A snapshot with its document and artefacts."""
        ...

    async def snapshots(self, extent: Extent) -> list[Snapshot]:
        """Snapshots, newest first."""
        ...

    async def active(self, tenant: str, environment: str, workflow_id: str) -> Release | None:
        """The active release of a workflow."""
        ...

    async def activate(
        self, release: Release, seen: Release | None, preparation_id: str, audit: AuditEntry
    ) -> None:
        """Make ``release`` the active one, and its workflow the tenant's default if there is none.

        Raises:
            PreconditionFailed: ``seen`` is no longer the active one; nothing was written.
            DuplicateKey: another release was activated as the first; nothing was written.
        """
        ...

    async def releases(self, extent: Extent) -> list[tuple[Release, bool]]:
        """Releases, newest first, each with whether it is active."""
        ...

    async def workflow(self, tenant: str, workflow_id: str) -> Workflow | None:
        """A workflow."""
        ...

    async def workflows(
        self, tenant: str, among: frozenset[str] | None, after: str, limit: int
    ) -> list[Workflow]:
        """Workflows by id, beginning after one."""
        ...

    async def pointers(self, tenant: str) -> list[ReleasePointer]:
        """The active releases of a tenant."""
        ...

    async def set_default(self, tenant: str, workflow_id: str, audit: AuditEntry) -> None:
        """Send queries that name no workflow to this one."""
        ...


class KeyStore(Protocol):
    """API keys of all tenants."""

    async def add(self, key: Key, audit: AuditEntry) -> None:
        """Store a new key."""
        ...

    async def key(self, tenant: str, key_id: str) -> Key | None:
        """A key of the tenant."""
        ...

    async def keys(self, tenant: str, after: Cursor, limit: int) -> list[Key]:
        """Keys, newest first."""
        ...

    async def change(self, record: KeyRecord, audit: AuditEntry) -> None:
        """Keep what ``record`` says about models: which, the output's cap, priority."""
        ...

    async def revoke(self, tenant: str, key_id: str, audit: AuditEntry) -> None:
        """Revoke a key; one that is revoked stays as it is."""
        ...


class StateStore(Protocol):
    """The state that followers are told, with the revision that numbers its changes."""

    async def revision(self) -> int:
        """The number of the last change; 0 before the first."""
        ...

    async def load(self) -> State:
        """The state. It may be newer than its revision says, never older."""
        ...

    async def prepare(self, preparation: Preparation) -> None:
        """Ask replicas to load a snapshot; forgets requests that have expired."""
        ...

    async def withdraw(self, preparation: Preparation) -> None:
        """Take the request back."""
        ...


class ReplicaStore(Protocol):
    """Who follows the change feed."""

    async def saw(self, replica: Replica) -> None:
        """A replica has polled; it counts until its lease ends."""
        ...

    async def gone(self, instance: str) -> None:
        """A replica has ended its poll without waiting for the answer."""
        ...

    async def live(self, now: int) -> list[Replica]:
        """Replicas whose lease has not ended."""
        ...
