"""The public HTTP API of Admin: ``/admin/api/v1``."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from signalbox.admin.catalogue import Catalogue
from signalbox.admin.keys import Keys
from signalbox.admin.publishing import Publisher
from signalbox.common.auth import Requires
from signalbox.common.web.routes import LateRoute
from signalbox.contracts.admin import (
    ActivateRequest,
    ChangeKeyRequest,
    CreatedKey,
    CreateKeyRequest,
    KeyList,
    KeyView,
    PublishReply,
    PublishRequest,
    ReleaseList,
    SnapshotDetail,
    SnapshotList,
    ValidateReply,
    ValidateRequest,
    WorkflowList,
    WorkflowView,
)
from signalbox.contracts.base import ConfigHash, Identifier
from signalbox.contracts.identity import Principal, Scope

router = APIRouter(prefix="/admin/api/v1", tags=["admin"], route_class=LateRoute)


async def publisher_of(request: Request) -> Publisher:
    """The app's publisher."""
    publisher: Publisher = request.app.state.publisher
    return publisher


async def catalogue_of(request: Request) -> Catalogue:
    """The app's catalogue."""
    catalogue: Catalogue = request.app.state.catalogue
    return catalogue


async def keys_of(request: Request) -> Keys:
    """The app's keys."""
    keys: Keys = request.app.state.keys
    return keys


Reader = Annotated[Principal, Depends(Requires(Scope.CONFIG_READ))]
Writer = Annotated[Principal, Depends(Requires(Scope.CONFIG_WRITE))]
KeyWriter = Annotated[Principal, Depends(Requires(Scope.KEYS_WRITE))]
ThePublisher = Annotated[Publisher, Depends(publisher_of)]
TheCatalogue = Annotated[Catalogue, Depends(catalogue_of)]
TheKeys = Annotated[Keys, Depends(keys_of)]
After = Annotated[str | None, Query(max_length=200, description="`next_after` of the page before.")]
Limit = Annotated[int, Query(ge=1, le=200, description="At most so many.")]
OfWorkflow = Annotated[Identifier | None, Query(description="Only those of this workflow.")]


@router.post("/validate")
async def validate(_: Reader, body: ValidateRequest, publisher: ThePublisher) -> ValidateReply:
    """Check a workflow document and name all that is wrong with it, with pointers into the document."""
    return await publisher.validate(body.document)


@router.post("/publish")
async def publish(principal: Writer, body: PublishRequest, publisher: ThePublisher) -> PublishReply:
    """Validate, store, build, distribute and activate a workflow document.

    An invalid one is answered with 422 and a pointer into the document per error, and leaves nothing behind.
    Publishing the same document again changes nothing. When the answer is there, the live replicas of all
    services work by the new release.
    """
    return await publisher.publish(principal, body)


@router.get("/workflows")
async def workflows(
    principal: Reader, catalogue: TheCatalogue, after: After = None, limit: Limit = 50
) -> WorkflowList:
    """The tenant's workflows by id, with what each runs in which environment."""
    return await catalogue.workflows(principal, after, limit)


@router.post("/workflows/{workflow_id}/activate")
async def activate(
    principal: Writer, workflow_id: Identifier, body: ActivateRequest, publisher: ThePublisher
) -> PublishReply:
    """Make a stored snapshot of the workflow the active release: roll back, or activate what was only stored."""
    return await publisher.activate(principal, workflow_id, body)


@router.post("/workflows/{workflow_id}/default")
async def set_default(principal: Writer, workflow_id: Identifier, catalogue: TheCatalogue) -> WorkflowView:
    """Send queries that name no workflow to this one. Until then they go to the first that was activated."""
    return await catalogue.set_default(principal, workflow_id)


@router.get("/snapshots")
async def snapshots(
    principal: Reader,
    catalogue: TheCatalogue,
    workflow_id: OfWorkflow = None,
    after: After = None,
    limit: Limit = 50,
) -> SnapshotList:
    """Stored snapshots, newest first, without their documents."""
    return await catalogue.snapshots(principal, workflow_id, after, limit)


@router.get("/snapshots/{config_hash}")
async def snapshot(principal: Reader, config_hash: ConfigHash, catalogue: TheCatalogue) -> SnapshotDetail:
    """A stored snapshot with its document."""
    return await catalogue.snapshot(principal, config_hash)


@router.get("/releases")
async def releases(
    principal: Reader,
    catalogue: TheCatalogue,
    workflow_id: OfWorkflow = None,
    after: After = None,
    limit: Limit = 50,
) -> ReleaseList:
    """Releases, newest first, each with whether it is the active one."""
    return await catalogue.releases(principal, workflow_id, after, limit)


@router.post("/keys", status_code=201)
async def create_key(principal: KeyWriter, body: CreateKeyRequest, keys: TheKeys) -> CreatedKey:
    """Make an API key with no more than the caller's own scopes and workflows. Only this answer holds the key."""
    return await keys.create(principal, body)


@router.get("/keys")
async def list_keys(principal: KeyWriter, keys: TheKeys, after: After = None, limit: Limit = 50) -> KeyList:
    """The tenant's API keys, newest first, without their secrets; revoked ones too."""
    return await keys.list(principal, after, limit)


@router.patch("/keys/{key_id}")
async def change_key(principal: KeyWriter, key_id: str, body: ChangeKeyRequest, keys: TheKeys) -> KeyView:
    """Change which models a key may call, and how. It holds within seconds, everywhere."""
    return await keys.change(principal, key_id, body)


@router.delete("/keys/{key_id}")
async def revoke_key(principal: KeyWriter, key_id: str, keys: TheKeys) -> KeyView:
    """Revoke an API key. It stops working within seconds, everywhere."""
    return await keys.revoke(principal, key_id)
