"""What a tenant has: its workflows, snapshots and releases."""

import base64
from typing import Any

import orjson

from signalbox.admin.errors import SnapshotNotFound, WorkflowNotFound
from signalbox.admin.paging import cut
from signalbox.admin.ports import ConfigStore
from signalbox.admin.records import AuditEntry, Cursor, Extent, Workflow
from signalbox.admin.releasing import Propagation
from signalbox.contracts.admin import (
    ActiveRelease,
    ReleaseList,
    ReleasePointer,
    SnapshotDetail,
    SnapshotDocument,
    SnapshotList,
    WorkflowList,
    WorkflowView,
)
from signalbox.contracts.identity import Principal

_REPORT_TYPE = "application/json"
"""Of the artefacts of a build that people read; the others are for Workflow."""


class Catalogue:
    """Looks things up within what a principal may see, and sets the default workflow."""

    def __init__(self, config: ConfigStore, propagation: Propagation) -> None:
        self._config = config
        self._propagation = propagation

    async def workflows(self, principal: Principal, after: str | None, limit: int) -> WorkflowList:
        """Workflows by id."""
        found = await self._config.workflows(principal.tenant, principal.workflows, after or "", limit + 1)
        page, last = cut(found, limit)
        pointers = await self._config.pointers(principal.tenant)
        return WorkflowList(
            items=[_workflow_view(workflow, pointers) for workflow in page],
            next_after=last.workflow_id if last else None,
        )

    async def snapshots(
        self, principal: Principal, workflow_id: str | None, after: str | None, limit: int
    ) -> SnapshotList:
        """Snapshots, newest first; of one workflow or of all.

        Raises:
            BadCursor: ``after`` is not what the page before gave.
        """
        page, last = cut(
            await self._config.snapshots(_extent(principal, workflow_id, after, limit + 1)), limit
        )
        return SnapshotList(
            items=[snapshot.view() for snapshot in page],
            next_after=str(last.cursor) if last else None,
        )

    async def snapshot(self, principal: Principal, config_hash: str) -> SnapshotDetail:
        """A snapshot with its document and the reports of its build.

        Raises:
            SnapshotNotFound: the principal has no such snapshot.
        """
        stored = await self._config.document(principal.tenant, config_hash)
        if stored is None or not principal.may_use(stored.snapshot.workflow_id):
            raise SnapshotNotFound(config_hash)
        document: dict[str, Any] = orjson.loads(stored.document)
        reports = {
            artefact.name: orjson.loads(base64.b64decode(artefact.data_base64))
            for artefact in stored.artefacts
            if artefact.media_type == _REPORT_TYPE
        }
        return SnapshotDetail(document=document, reports=reports, **dict(stored.snapshot.view()))

    async def releases(
        self, principal: Principal, workflow_id: str | None, after: str | None, limit: int
    ) -> ReleaseList:
        """Releases, newest first; of one workflow or of all.

        Raises:
            BadCursor: ``after`` is not what the page before gave.
        """
        page, last = cut(
            await self._config.releases(_extent(principal, workflow_id, after, limit + 1)), limit
        )
        return ReleaseList(
            items=[release.view(active=active) for release, active in page],
            next_after=str(last[0].cursor) if last else None,
        )

    async def set_default(self, principal: Principal, workflow_id: str) -> WorkflowView:
        """Send the tenant's queries that name no workflow to this one.

        Raises:
            WorkflowNotFound: the principal has no such workflow.
        """
        workflow = await self._config.workflow(principal.tenant, workflow_id)
        if workflow is None or not principal.may_use(workflow_id):
            raise WorkflowNotFound(workflow_id)
        if not workflow.is_default:
            audit = AuditEntry.by(principal, "workflow.default", workflow_id)
            await self._config.set_default(principal.tenant, workflow_id, audit)
            await self._propagation.take_effect()
            workflow = await self._config.workflow(principal.tenant, workflow_id) or workflow
        return _workflow_view(workflow, await self._config.pointers(principal.tenant))

    async def served(self, tenant: str, config_hash: str) -> SnapshotDocument:
        """A snapshot as services load it.

        One that is not built yet is withheld: whoever fetched it would keep it without its artefacts.

        Raises:
            SnapshotNotFound: the tenant has no such snapshot, or it is not built.
        """
        stored = await self._config.document(tenant, config_hash)
        if stored is None or stored.snapshot.state == "stored":
            raise SnapshotNotFound(config_hash)
        return SnapshotDocument(
            config_hash=config_hash,
            tenant=tenant,
            document=stored.document,
            artefacts=list(stored.artefacts),
        )


def _extent(principal: Principal, workflow_id: str | None, after: str | None, limit: int) -> Extent:
    workflows = principal.workflows
    if workflow_id is not None:
        workflows = frozenset({workflow_id} if principal.may_use(workflow_id) else ())
    return Extent(principal.tenant, workflows, Cursor.parse(after), limit)


def _workflow_view(workflow: Workflow, pointers: list[ReleasePointer]) -> WorkflowView:
    return WorkflowView(
        workflow_id=workflow.workflow_id,
        name=workflow.name,
        is_default=workflow.is_default,
        created_at=workflow.created_at,
        active=[
            ActiveRelease(
                environment=pointer.environment, number=pointer.number, config_hash=pointer.config_hash
            )
            for pointer in pointers
            if pointer.workflow_id == workflow.workflow_id
        ],
    )
