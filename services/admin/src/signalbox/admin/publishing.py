"""From a document to a release: check, hash, store, build, distribute, activate."""

import asyncio
from dataclasses import replace
from typing import Any, NamedTuple

from signalbox.admin.errors import (
    BuilderUnavailable,
    BuildFailed,
    InvalidDocument,
    SnapshotNotFound,
    WorkflowForbidden,
)
from signalbox.admin.ports import Builder, ConfigStore, DocumentCheck
from signalbox.admin.records import AuditEntry, Snapshot
from signalbox.admin.releasing import Releasing
from signalbox.common.clients import ServiceCallFailed
from signalbox.common.document_errors import DocumentTooLarge, DocumentUnreadable
from signalbox.common.documents import config_hash
from signalbox.common.ids import now_ms
from signalbox.common.transport import HopError
from signalbox.contracts.admin import (
    ActivateRequest,
    BuildRequest,
    PublishReply,
    PublishRequest,
    ValidateReply,
)
from signalbox.contracts.identity import Principal
from signalbox.contracts.problem import ProblemError
from signalbox.contracts.workflow_config import SCHEMA_VERSION, WorkflowConfig


class Publisher:
    """Publishes documents, for the HTTP API and for ``signalbox up`` alike."""

    def __init__(
        self,
        config: ConfigStore,
        check: DocumentCheck,
        builder: Builder,
        releasing: Releasing,
        *,
        max_document_bytes: int,
        build_timeout_s: float,
    ) -> None:
        self._config = config
        self._check = check
        self._builder = builder
        self._releasing = releasing
        self._max_bytes = max_document_bytes
        self._build_timeout_s = build_timeout_s

    async def validate(self, document: dict[str, Any]) -> ValidateReply:
        """All that is wrong with a document, with pointers into it; nothing is stored.

        Raises:
            DocumentTooLarge: it has too many bytes.
        """
        found = await asyncio.to_thread(self._examine, document)
        return ValidateReply(
            valid=found.config is not None,
            config_hash=found.config_hash or None,
            errors=found.errors,
            warnings=found.warnings,
        )

    async def publish(self, principal: Principal, request: PublishRequest) -> PublishReply:
        """Publish a document as ``principal``. Publishing it again changes nothing.

        Raises:
            InvalidDocument: the document is wrong; nothing was stored.
            DocumentTooLarge: it has too many bytes; nothing was stored.
            WorkflowForbidden: the principal is for other workflows.
            BuildFailed: nothing can be built from it; nothing was kept.
            BuilderUnavailable: the Workflow service is down; the snapshot is stored, to be published again.
            ReplicasNotReady: a replica could not load it; it is built, and not active.
        """
        built, changed = await self._known(principal, request.document), False
        if built is None:
            built, changed = await self._keep(principal, request.document)
        if not request.activate:
            return PublishReply(snapshot=built.view(), changed=changed)
        return await self._activate(principal, built, request.environment, request.message)

    async def _known(self, principal: Principal, document: dict[str, Any]) -> Snapshot | None:
        """The snapshot of a document that was found right and was built before: it need not be looked at again.

        That makes a start with a workflow folder quick, where most often nothing was saved in between.
        """
        try:
            name, _ = await asyncio.to_thread(config_hash, document)
        except DocumentUnreadable:
            return None  # the check says where
        snapshot = await self._config.snapshot(principal.tenant, name)
        if snapshot is None or snapshot.state == "stored":
            return None
        if not principal.may_use(snapshot.workflow_id):
            raise WorkflowForbidden(snapshot.workflow_id)
        return snapshot

    async def _keep(self, principal: Principal, document: dict[str, Any]) -> tuple[Snapshot, bool]:
        """Check, store and build a document; gives its snapshot, and whether it is new."""
        found = await asyncio.to_thread(self._examine, document)
        if found.config is None:
            raise InvalidDocument(found.errors)
        if not principal.may_use(found.config.workflow_id):
            raise WorkflowForbidden(found.config.workflow_id)
        snapshot = Snapshot(
            tenant=principal.tenant,
            config_hash=found.config_hash,
            workflow_id=found.config.workflow_id,
            name=found.config.name,
            schema_version=document.get("schema_version", SCHEMA_VERSION),
            size=len(found.canonical),
            state="stored",
            warnings=tuple(found.warnings),
            created_at=now_ms(),
            created_by=principal.subject,
        )
        canonical = found.canonical.decode()
        audit = AuditEntry.by(
            principal, "snapshot.store", snapshot.config_hash, workflow_id=snapshot.workflow_id
        )
        stored = await self._config.add_snapshot(snapshot, canonical, audit)
        return await self._build(principal, stored, canonical), stored is snapshot

    async def activate(
        self, principal: Principal, workflow_id: str, request: ActivateRequest
    ) -> PublishReply:
        """Make a stored snapshot of a workflow the active release: a rollback, most often.

        Raises:
            SnapshotNotFound: the principal has no such snapshot of this workflow.
            BuildFailed: the snapshot was never built, and cannot be.
            BuilderUnavailable: the snapshot was never built, and the Workflow service is down.
            ReplicasNotReady: a replica could not load it; the release is as it was.
        """
        stored = await self._config.document(principal.tenant, request.config_hash)
        if stored is None or stored.snapshot.workflow_id != workflow_id or not principal.may_use(workflow_id):
            raise SnapshotNotFound(request.config_hash)
        built = await self._build(principal, stored.snapshot, stored.document)
        return await self._activate(principal, built, request.environment, request.message)

    async def _activate(
        self, principal: Principal, snapshot: Snapshot, environment: str, message: str
    ) -> PublishReply:
        release, changed = await self._releasing.release(principal, snapshot, environment, message)
        ready = replace(snapshot, state="ready")
        return PublishReply(snapshot=ready.view(), release=release.view(active=True), changed=changed)

    async def _build(self, principal: Principal, snapshot: Snapshot, document: str) -> Snapshot:
        if snapshot.state != "stored":
            return snapshot
        name = snapshot.config_hash
        request = BuildRequest(tenant=snapshot.tenant, config_hash=name, document=document)
        try:
            reply = await self._builder.build(request, self._build_timeout_s)
        except (HopError, ServiceCallFailed) as error:
            raise BuilderUnavailable(name, error.detail) from error
        if reply.errors:
            audit = AuditEntry.by(principal, "snapshot.discard", name, workflow_id=snapshot.workflow_id)
            await self._config.discard_stored(snapshot, audit)
            raise BuildFailed(reply.errors)
        audit = AuditEntry.by(principal, "snapshot.build", name, workflow_id=snapshot.workflow_id)
        return await self._config.mark_built(snapshot.built(tuple(reply.warnings)), reply.artefacts, audit)

    def _examine(self, document: dict[str, Any]) -> "_Examined":
        result = self._check(document)
        errors, warnings = list(result.errors), list(result.warnings)
        if result.config is None:
            return _Examined(None, "", b"", errors, warnings)
        name, canonical = config_hash(document)
        if len(canonical) > self._max_bytes:
            raise DocumentTooLarge(
                f"The document has {len(canonical)} bytes; at most {self._max_bytes} are published."
            )
        return _Examined(result.config, name, canonical, errors, warnings)


class _Examined(NamedTuple):
    """What was found about a document; without a config it has errors, and no hash."""

    config: WorkflowConfig | None
    config_hash: str
    canonical: bytes
    errors: list[ProblemError]
    warnings: list[ProblemError]
