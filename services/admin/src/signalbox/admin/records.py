"""What the Admin service keeps, as values between its services and its repositories."""

from collections.abc import Mapping
from dataclasses import field, replace
from typing import Any, Self

import orjson

from signalbox.common.errors import BadRequest
from signalbox.common.ids import new_id, now_ms
from signalbox.common.record import record
from signalbox.contracts.admin import (
    Artefact,
    KeyView,
    ReleasePointer,
    ReleaseView,
    ServiceName,
    SnapshotRef,
    SnapshotState,
    SnapshotView,
)
from signalbox.contracts.identity import KeyRecord, Principal
from signalbox.contracts.problem import ProblemError


class BadCursor(BadRequest):
    """``after`` is not what a list answer gave."""

    code = "bad_cursor"


@record
class Cursor:
    """A place in a list that runs from new to old: what comes next is older, or as old with a lower id."""

    at: int = 2**63 - 1
    id: str = ""

    @classmethod
    def parse(cls, text: str | None) -> Self:
        """The place that ``next_after`` of a page named; None is the beginning.

        Raises:
            BadCursor: the text is no such place.
        """
        if text is None:
            return cls()
        at, _, name = text.partition(".")
        if not (at.isascii() and at.isdigit() and len(at) <= 15 and name):
            raise BadCursor(
                "'after' must be the 'next_after' of the page before; leave it out for the first."
            )
        return cls(int(at), name)

    def __str__(self) -> str:
        return f"{self.at}.{self.id}"


@record
class Extent:
    """Which rows of a tenant a principal may see, from where on, and how many."""

    tenant: str
    workflows: frozenset[str] | None
    """None: all."""
    after: Cursor
    limit: int


@record
class Snapshot:
    """A stored snapshot, without its document and artefacts."""

    tenant: str
    config_hash: str
    workflow_id: str
    name: str
    schema_version: str
    size: int
    state: SnapshotState
    warnings: tuple[ProblemError, ...]
    created_at: int
    created_by: str

    @property
    def ref(self) -> SnapshotRef:
        """Its name among all tenants."""
        return SnapshotRef(tenant=self.tenant, config_hash=self.config_hash)

    @property
    def cursor(self) -> Cursor:
        """Its place in lists."""
        return Cursor(self.created_at, self.config_hash)

    def built(self, warnings: tuple[ProblemError, ...]) -> "Snapshot":
        """The same after a build that gave ``warnings``."""
        return replace(self, state="built", warnings=self.warnings + warnings)

    def view(self) -> SnapshotView:
        """As clients see it."""
        return SnapshotView(
            config_hash=self.config_hash,
            workflow_id=self.workflow_id,
            name=self.name,
            schema_version=self.schema_version,
            state=self.state,
            size=self.size,
            created_at=self.created_at,
            created_by=self.created_by,
            warnings=list(self.warnings),
        )


@record
class StoredDocument:
    """A snapshot's document in RFC 8785 form, and what was built from it."""

    snapshot: Snapshot
    document: str
    artefacts: tuple[Artefact, ...]


@record
class Release:
    """A numbered release."""

    tenant: str
    environment: str
    workflow_id: str
    number: int
    release_id: str
    config_hash: str
    message: str
    created_at: int
    created_by: str

    @property
    def cursor(self) -> Cursor:
        """Its place in lists."""
        return Cursor(self.created_at, self.release_id)

    def view(self, *, active: bool) -> ReleaseView:
        """As clients see it."""
        return ReleaseView(
            number=self.number,
            workflow_id=self.workflow_id,
            environment=self.environment,
            config_hash=self.config_hash,
            message=self.message,
            created_at=self.created_at,
            created_by=self.created_by,
            active=active,
        )


@record
class Workflow:
    """A workflow of which a snapshot was built."""

    workflow_id: str
    name: str
    created_at: int
    is_default: bool


@record
class Key:
    """An API key with who made it."""

    record: KeyRecord
    created_by: str

    @property
    def cursor(self) -> Cursor:
        """Its place in lists."""
        return Cursor(self.record.created_at, self.record.key_id)

    def view(self) -> KeyView:
        """As clients see it: without the secret's hash."""
        record = self.record
        return KeyView(
            key_id=record.key_id,
            name=record.name,
            scopes=sorted(record.scopes),
            workflows=None if record.workflows is None else sorted(record.workflows),
            models=None if record.models is None else sorted(record.models),
            default_max_output=record.default_max_output,
            priority=record.priority,
            created_at=record.created_at,
            created_by=self.created_by,
            expires_at=record.expires_at,
            revoked_at=record.revoked_at,
        )


@record
class Preparation:
    """A snapshot that replicas are asked to load, until ``expires_at``."""

    preparation_id: str
    ref: SnapshotRef
    expires_at: int


@record
class State:
    """What followers of the change feed are told, at one revision."""

    revision: int
    releases: tuple[ReleasePointer, ...] = ()
    preparations: tuple[Preparation, ...] = ()
    keys: tuple[KeyRecord, ...] = ()


@record
class Replica:
    """A process that follows the change feed. ``revision`` is the one that it has applied."""

    service: ServiceName
    instance: str
    revision: int
    loaded: frozenset[SnapshotRef]
    lease_until: int


@record
class AuditEntry:
    """Who did what to which thing."""

    tenant: str
    subject: str
    action: str
    target: str
    detail: Mapping[str, Any] = field(default_factory=dict)
    audit_id: str = field(default_factory=lambda: new_id("audit"))
    at: int = field(default_factory=now_ms)

    @classmethod
    def by(cls, principal: Principal, action: str, target: str, **detail: Any) -> Self:
        """An entry about something that ``principal`` does now."""
        return cls(principal.tenant, principal.subject, action, target, detail)

    def row(self) -> dict[str, Any]:
        """As it is stored."""
        return {
            "tenant": self.tenant,
            "audit_id": self.audit_id,
            "at": self.at,
            "subject": self.subject,
            "action": self.action,
            "target": self.target,
            "detail": orjson.dumps(dict(self.detail), option=orjson.OPT_SORT_KEYS).decode(),
        }
