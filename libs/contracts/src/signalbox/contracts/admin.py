"""Admin: publishing, releases, keys, and the change feed that services follow."""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from signalbox.contracts.base import ConfigHash, EpochMs, Identifier, PublicRequest, WireModel
from signalbox.contracts.identity import KeyRecord, MaxOutput, ModelName, Priority, Scope
from signalbox.contracts.problem import ProblemError

ServiceName = Literal["workflow", "skills", "flows", "tools", "llm_gateway", "admin"]
SnapshotState = Literal["stored", "built", "ready"]


class SnapshotView(WireModel):
    """A stored snapshot, without its document."""

    config_hash: ConfigHash
    workflow_id: Identifier
    name: str
    schema_version: str
    state: SnapshotState
    size: int
    """Bytes of the document in RFC 8785 form."""
    created_at: EpochMs
    created_by: str
    warnings: list[ProblemError] = []


class SnapshotDetail(SnapshotView):
    """A stored snapshot with its document."""

    document: dict[str, Any]
    reports: dict[str, Any] = {}
    """What its build found out, by name: ``examples-report`` says how well intents are told apart by their examples."""


class ReleaseView(WireModel):
    """A numbered release: which snapshot a workflow runs."""

    number: int
    workflow_id: Identifier
    environment: Identifier
    config_hash: ConfigHash
    message: str
    created_at: EpochMs
    created_by: str
    active: bool


class PublishRequest(PublicRequest):
    """Validate, store, build, distribute and activate a document in one call."""

    document: dict[str, Any]
    message: str = Field(default="", max_length=2000)
    environment: Identifier = "default"
    activate: bool = True


class PublishReply(WireModel):
    """What was published. ``release`` is null when the snapshot was not activated."""

    snapshot: SnapshotView
    release: ReleaseView | None = None
    changed: bool = True
    """False when this snapshot was the active release already, or was stored before and is not activated."""


class ValidateRequest(PublicRequest):
    """A document to check; nothing is stored."""

    document: dict[str, Any]


class ValidateReply(WireModel):
    """All that is wrong with a document."""

    valid: bool
    config_hash: ConfigHash | None = None
    errors: list[ProblemError] = []
    warnings: list[ProblemError] = []


class ActivateRequest(PublicRequest):
    """Make a stored snapshot the active release."""

    config_hash: ConfigHash
    message: str = Field(default="", max_length=2000)
    environment: Identifier = "default"


class CreateKeyRequest(PublicRequest):
    """A new API key."""

    name: str = Field(min_length=1, max_length=100)
    scopes: list[Scope] = Field(default=[Scope.QUERY], min_length=1)
    workflows: list[Identifier] | None = Field(default=None, min_length=1)
    """Workflows that the key may use; null means all, or all that the creator may use."""
    models: list[ModelName] | None = Field(default=None, min_length=1)
    """Models that the key may call at the gateway; null means all, or all that the creator may call. What a workflow
    calls for the key's caller is the workflow's business."""
    default_max_output: MaxOutput | None = None
    """Output tokens of an answer to a model call that has no cap of its own; null means what the creator's key has."""
    priority: Priority = 0
    """Of model calls that wait for a limit, those with the larger number are made first."""
    expires_at: EpochMs | None = None


class ChangeKeyRequest(PublicRequest):
    """What an API key may do at the gateway from now on; a member that is left out stays as it is."""

    models: list[ModelName] | None = Field(default=None, min_length=1)
    """null means all, or all that the caller may call."""
    default_max_output: MaxOutput | None = None
    priority: Priority | None = None
    """null means 0."""


class CreatedKey(WireModel):
    """A new API key; the only answer that ever holds its secret."""

    key_id: str
    key: str
    name: str
    scopes: list[Scope]


class KeyView(WireModel):
    """An API key without its secret."""

    key_id: str
    name: str
    scopes: list[Scope]
    workflows: list[str] | None = None
    models: list[str] | None = None
    default_max_output: int | None = None
    priority: int = 0
    created_at: EpochMs
    created_by: str = ""
    expires_at: EpochMs | None = None
    revoked_at: EpochMs | None = None


class ActiveRelease(WireModel):
    """What a workflow runs in one environment."""

    environment: Identifier
    number: int
    config_hash: ConfigHash


class WorkflowView(WireModel):
    """A workflow of the tenant, and what it runs where."""

    workflow_id: Identifier
    name: str
    is_default: bool
    """Whether a query that names no workflow goes here."""
    created_at: EpochMs
    active: list[ActiveRelease] = []
    """One per environment in which it was activated."""


class Page(WireModel):
    """The common part of list answers."""

    next_after: str | None = None
    """Pass it as ``after`` for the next page; null on the last one."""


class WorkflowList(Page):
    """Workflows, by id."""

    items: list[WorkflowView]


class SnapshotList(Page):
    """Snapshots, newest first."""

    items: list[SnapshotView]


class ReleaseList(Page):
    """Releases, newest first."""

    items: list[ReleaseView]


class KeyList(Page):
    """API keys, newest first."""

    items: list[KeyView]


class ReleasePointer(WireModel):
    """The active release of one workflow in one environment."""

    tenant: Identifier
    environment: Identifier
    workflow_id: Identifier
    number: int
    config_hash: ConfigHash
    is_default: bool = False
    """Whether a query that names no workflow goes here."""


class SnapshotRef(WireModel):
    """A snapshot of a tenant; two tenants may have published the same document."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    tenant: Identifier
    config_hash: ConfigHash


class ChangesRequest(WireModel):
    """A replica's long poll: what it has, and how long it is willing to wait."""

    service: ServiceName
    instance: str
    """Unique per process life."""
    after: int
    """The revision that the replica has applied; -1 for none."""
    loaded: list[SnapshotRef] = []
    """Snapshots that it is able to serve at once; a service that loads none repeats ``prepare``."""
    wait_ms: int = Field(default=20_000, ge=0, le=60_000)
    partial: bool = False
    """Whether the replica keeps what it was told, so that the reply may name what changed after ``after`` only."""


class ChangesReply(WireModel):
    """The whole small state of the tenants that services need, at ``revision``."""

    revision: int
    """Grows with every change, also of ``prepare``."""
    releases: list[ReleasePointer]
    prepare: list[SnapshotRef]
    """Snapshots about to become active: load them now and say so in the next poll."""
    keys: list[KeyRecord] = []
    """API keys, hashed; sent to the services that verify them (Workflow and the gateway)."""
    partial: bool = False
    """Whether ``releases`` are those only that changed after ``after``: the others are as they were."""
    same_keys: bool = False
    """Whether the keys are as they were, and ``keys`` is empty for that."""


class SnapshotDocument(WireModel):
    """A snapshot as services fetch it: the bytes that were hashed, and what was built from them."""

    config_hash: ConfigHash
    tenant: Identifier
    document: str
    """The RFC 8785 form, as text."""
    artefacts: list["Artefact"] = []


class Artefact(WireModel):
    """Something built from a snapshot in a data-only format."""

    name: str
    builder: str
    """Name and version of what built it."""
    platform: str
    media_type: str
    sha256: str
    data_base64: str


class BuildRequest(WireModel):
    """Admin asks Workflow to build what a snapshot needs."""

    tenant: Identifier
    config_hash: ConfigHash
    document: str


class BuildReply(WireModel):
    """What was built; an error in it makes the snapshot unfit to publish."""

    artefacts: list[Artefact] = []
    errors: list[ProblemError] = []
    warnings: list[ProblemError] = []
    report: dict[str, Any] = {}
