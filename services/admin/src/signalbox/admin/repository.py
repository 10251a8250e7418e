"""Snapshots, workflows and releases in SQL."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter

from signalbox.admin.changing import change, kept
from signalbox.admin.paging import page_after, page_params
from signalbox.admin.records import AuditEntry, Extent, Release, Snapshot, StoredDocument, Workflow
from signalbox.admin.state_repository import POINTERS_WITH_DEFAULT, delete_preparation, pointer_of
from signalbox.common.storage import (
    Database,
    DuplicateKey,
    PreconditionFailed,
    Row,
    Statement,
    Write,
    any_of,
    columns_of,
    insert_into,
    listed,
)
from signalbox.contracts.admin import Artefact, ReleasePointer
from signalbox.contracts.problem import ProblemError

_ERRORS = TypeAdapter(tuple[ProblemError, ...])
_ARTEFACTS = TypeAdapter(tuple[Artefact, ...])


def _among(workflow_id: str) -> str:
    return f"(CAST(:every_workflow AS bigint) = 1 OR {any_of(workflow_id, 'workflows')})"


_SNAPSHOT_HEAD = columns_of(Snapshot)
_SNAPSHOT_COLUMNS = (*_SNAPSHOT_HEAD, "document", "artefacts")
_THIS_SNAPSHOT = "tenant = :in_tenant AND config_hash = :in_hash"
_ADD_SNAPSHOT = Statement(insert_into("admin_snapshots", _SNAPSHOT_COLUMNS))
_MARK_BUILT = Statement(
    "UPDATE admin_snapshots SET state = 'built', warnings = :new_warnings, artefacts = :new_artefacts"
    f" WHERE {_THIS_SNAPSHOT} AND state = 'stored'"
)
_MARK_READY = Statement(f"UPDATE admin_snapshots SET state = 'ready' WHERE {_THIS_SNAPSHOT}")
_DISCARD = Statement(f"DELETE FROM admin_snapshots WHERE {_THIS_SNAPSHOT} AND state = 'stored'")
_SNAPSHOT = Statement(f"SELECT {listed(_SNAPSHOT_HEAD)} FROM admin_snapshots WHERE {_THIS_SNAPSHOT}")
_DOCUMENT = Statement(f"SELECT {listed(_SNAPSHOT_COLUMNS)} FROM admin_snapshots WHERE {_THIS_SNAPSHOT}")
_SNAPSHOTS = Statement(
    f"SELECT {listed(_SNAPSHOT_HEAD)} FROM admin_snapshots"
    f" WHERE tenant = :in_tenant AND {_among('workflow_id')} AND {page_after('created_at', 'config_hash')}"
    " ORDER BY created_at DESC, config_hash DESC LIMIT :at_most"
)

_RELEASE = columns_of(Release)
_OF_POINTER = (
    "r.tenant = p.tenant AND r.environment = p.environment AND r.workflow_id = p.workflow_id"
    " AND r.number = p.number"
)
_ACTIVE = Statement(
    f"SELECT {listed(_RELEASE, 'r')} FROM admin_releases r JOIN admin_release_pointers p ON {_OF_POINTER}"
    " WHERE p.tenant = :in_tenant AND p.environment = :in_environment AND p.workflow_id = :in_workflow"
)
_ADD_RELEASE = Statement(insert_into("admin_releases", _RELEASE))
_ADD_POINTER = Statement(
    insert_into("admin_release_pointers", ("tenant", "environment", "workflow_id", "number", "config_hash"))
)
_MOVE_POINTER = Statement(
    "UPDATE admin_release_pointers SET number = :new_number, config_hash = :new_hash"
    " WHERE tenant = :in_tenant AND environment = :in_environment AND workflow_id = :in_workflow"
    " AND number = :seen_number"
)
_RELEASES = Statement(
    f"SELECT {listed(_RELEASE, 'r')}, p.number AS active_number"
    f" FROM admin_releases r LEFT JOIN admin_release_pointers p ON {_OF_POINTER}"
    f" WHERE r.tenant = :in_tenant AND {_among('r.workflow_id')}"
    f" AND {page_after('r.created_at', 'r.release_id')}"
    " ORDER BY r.created_at DESC, r.release_id DESC LIMIT :at_most"
)
_POINTERS = Statement(
    f"{POINTERS_WITH_DEFAULT} WHERE p.tenant = :in_tenant ORDER BY p.workflow_id, p.environment"
)

_NAME_WORKFLOW = Statement(
    f"{insert_into('admin_workflows', ('tenant', 'workflow_id', 'name', 'created_at'))}"
    " ON CONFLICT (tenant, workflow_id) DO UPDATE SET name = excluded.name"
)
_SELECT_WORKFLOWS = (
    "SELECT w.workflow_id, w.name, w.created_at, t.default_workflow FROM admin_workflows w"
    " LEFT JOIN admin_tenants t ON t.tenant = w.tenant AND t.default_workflow = w.workflow_id"
)
_WORKFLOW = Statement(f"{_SELECT_WORKFLOWS} WHERE w.tenant = :in_tenant AND w.workflow_id = :in_workflow")
_WORKFLOWS = Statement(
    f"{_SELECT_WORKFLOWS} WHERE w.tenant = :in_tenant AND {_among('w.workflow_id')}"
    " AND w.workflow_id > :after_id ORDER BY w.workflow_id LIMIT :at_most"
)
_PUT_TENANT = f"{insert_into('admin_tenants', ('tenant', 'default_workflow'))} ON CONFLICT (tenant)"
_FIRST_DEFAULT = Statement(f"{_PUT_TENANT} DO NOTHING")
_SET_DEFAULT = Statement(f"{_PUT_TENANT} DO UPDATE SET default_workflow = excluded.default_workflow")


class SqlConfigStore:
    """``ConfigStore`` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_snapshot(self, snapshot: Snapshot, document: str, audit: AuditEntry) -> Snapshot:
        """See ``ConfigStore.add_snapshot``."""
        found = await self.snapshot(snapshot.tenant, snapshot.config_hash)
        if found is not None:
            return found
        row = {
            **asdict(snapshot),
            "warnings": _ERRORS.dump_json(snapshot.warnings).decode(),
            "document": document,
            "artefacts": "[]",
        }
        try:
            await self._database.write(*kept(audit, Write(_ADD_SNAPSHOT, row)))
        except DuplicateKey:
            return await self.snapshot(snapshot.tenant, snapshot.config_hash) or snapshot
        return snapshot

    async def mark_built(
        self, snapshot: Snapshot, artefacts: Sequence[Artefact], audit: AuditEntry
    ) -> Snapshot:
        """See ``ConfigStore.mark_built``."""
        built = Write(
            _MARK_BUILT,
            {
                **_name(snapshot),
                "new_warnings": _ERRORS.dump_json(snapshot.warnings).decode(),
                "new_artefacts": _ARTEFACTS.dump_json(tuple(artefacts)).decode(),
            },
            expect=1,
        )
        workflow = Write(
            _NAME_WORKFLOW,
            {
                "tenant": snapshot.tenant,
                "workflow_id": snapshot.workflow_id,
                "name": snapshot.name,
                "created_at": audit.at,
            },
        )
        try:
            await self._database.write(*kept(audit, built, workflow))
        except PreconditionFailed:
            # Another request has built the same snapshot meanwhile.
            return await self.snapshot(snapshot.tenant, snapshot.config_hash) or snapshot
        return snapshot

    async def discard_stored(self, snapshot: Snapshot, audit: AuditEntry) -> None:
        """See ``ConfigStore.discard_stored``."""
        await self._database.write(*kept(audit, Write(_DISCARD, _name(snapshot))))

    async def snapshot(self, tenant: str, config_hash: str) -> Snapshot | None:
        """See ``ConfigStore.snapshot``."""
        row = await self._database.fetch_one(_SNAPSHOT, {"in_tenant": tenant, "in_hash": config_hash})
        return None if row is None else _snapshot(row)

    async def document(self, tenant: str, config_hash: str) -> StoredDocument | None:
        """See ``ConfigStore.document``."""
        row = await self._database.fetch_one(_DOCUMENT, {"in_tenant": tenant, "in_hash": config_hash})
        if row is None:
            return None
        document: str = row.pop("document")
        artefacts = _ARTEFACTS.validate_json(row.pop("artefacts"))
        return StoredDocument(_snapshot(row), document, artefacts)

    async def snapshots(self, extent: Extent) -> list[Snapshot]:
        """See ``ConfigStore.snapshots``."""
        return [_snapshot(row) for row in await self._database.fetch_all(_SNAPSHOTS, _extent(extent))]

    async def active(self, tenant: str, environment: str, workflow_id: str) -> Release | None:
        """See ``ConfigStore.active``."""
        params = {"in_tenant": tenant, "in_environment": environment, "in_workflow": workflow_id}
        row = await self._database.fetch_one(_ACTIVE, params)
        return None if row is None else Release(**row)

    async def activate(
        self, release: Release, seen: Release | None, preparation_id: str, audit: AuditEntry
    ) -> None:
        """See ``ConfigStore.activate``."""
        place = {
            "tenant": release.tenant,
            "environment": release.environment,
            "workflow_id": release.workflow_id,
        }
        if seen is None:
            row = {**place, "number": release.number, "config_hash": release.config_hash}
            pointer = Write(_ADD_POINTER, row)
        else:
            params = {
                "in_tenant": release.tenant,
                "in_environment": release.environment,
                "in_workflow": release.workflow_id,
                "seen_number": seen.number,
                "new_number": release.number,
                "new_hash": release.config_hash,
            }
            pointer = Write(_MOVE_POINTER, params, expect=1)
        snapshot = {"in_tenant": release.tenant, "in_hash": release.config_hash}
        default = {"tenant": release.tenant, "default_workflow": release.workflow_id}
        await self._database.write(
            *change(
                audit,
                Write(_ADD_RELEASE, asdict(release)),
                pointer,
                Write(_MARK_READY, snapshot, expect=1),
                Write(_FIRST_DEFAULT, default),
                delete_preparation(release.tenant, preparation_id),
            )
        )

    async def releases(self, extent: Extent) -> list[tuple[Release, bool]]:
        """See ``ConfigStore.releases``."""
        rows = await self._database.fetch_all(_RELEASES, _extent(extent))
        return [_release_with_activity(row) for row in rows]

    async def workflow(self, tenant: str, workflow_id: str) -> Workflow | None:
        """See ``ConfigStore.workflow``."""
        row = await self._database.fetch_one(_WORKFLOW, {"in_tenant": tenant, "in_workflow": workflow_id})
        return None if row is None else _workflow(row)

    async def workflows(
        self, tenant: str, among: frozenset[str] | None, after: str, limit: int
    ) -> list[Workflow]:
        """See ``ConfigStore.workflows``."""
        params = {"in_tenant": tenant, **_only(among), "after_id": after, "at_most": limit}
        return [_workflow(row) for row in await self._database.fetch_all(_WORKFLOWS, params)]

    async def pointers(self, tenant: str) -> list[ReleasePointer]:
        """See ``ConfigStore.pointers``."""
        return [pointer_of(row) for row in await self._database.fetch_all(_POINTERS, {"in_tenant": tenant})]

    async def set_default(self, tenant: str, workflow_id: str, audit: AuditEntry) -> None:
        """See ``ConfigStore.set_default``."""
        default = {"tenant": tenant, "default_workflow": workflow_id}
        await self._database.write(*change(audit, Write(_SET_DEFAULT, default)))


def _name(snapshot: Snapshot) -> dict[str, Any]:
    return {"in_tenant": snapshot.tenant, "in_hash": snapshot.config_hash}


def _only(workflows: frozenset[str] | None) -> dict[str, Any]:
    return {"every_workflow": int(workflows is None), "workflows": sorted(workflows or ())}


def _extent(extent: Extent) -> dict[str, Any]:
    return {
        "in_tenant": extent.tenant,
        **_only(extent.workflows),
        **page_params(extent.after, extent.limit),
    }


def _snapshot(row: Row) -> Snapshot:
    return Snapshot(**{**row, "warnings": _ERRORS.validate_json(row["warnings"])})


def _release_with_activity(row: Row) -> tuple[Release, bool]:
    active = row.pop("active_number") is not None
    return Release(**row), active


def _workflow(row: Row) -> Workflow:
    return Workflow(
        workflow_id=row["workflow_id"],
        name=row["name"],
        created_at=row["created_at"],
        is_default=row["default_workflow"] is not None,
    )
