"""What the other services call: the change feed and the snapshots. No edge routes these paths."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from signalbox.admin.endpoints import TheCatalogue
from signalbox.admin.following import Following
from signalbox.common.auth import SYSTEM_TENANT, Requires
from signalbox.common.errors import Forbidden, NotFound
from signalbox.common.web.routes import LateRoute
from signalbox.contracts.admin import ChangesReply, ChangesRequest, SnapshotDocument
from signalbox.contracts.base import ConfigHash, Identifier
from signalbox.contracts.identity import Principal, Scope

router = APIRouter(prefix="/internal/v1/admin", tags=["internal"], route_class=LateRoute)


async def following_of(request: Request) -> Following:
    """The app's change feed."""
    following: Following = request.app.state.following
    return following


Service = Annotated[Principal, Depends(Requires(Scope.SERVICE))]


@router.post("/changes")
async def changes(
    request: Request,
    principal: Service,
    body: ChangesRequest,
    following: Annotated[Following, Depends(following_of)],
) -> ChangesReply:
    """The state of all tenants as soon as its revision is another than ``after``, else after ``wait_ms``."""
    if principal.tenant != SYSTEM_TENANT:
        raise Forbidden(
            "Only a service itself follows the changes of all tenants, not one that acts for a tenant."
        )
    return await following.poll(body, _disconnected(request))


@router.get("/snapshots/{tenant}/{config_hash}")
async def snapshot(
    principal: Service, tenant: Identifier, config_hash: ConfigHash, catalogue: TheCatalogue
) -> SnapshotDocument:
    """A built snapshot: the bytes that were hashed, and what was built from them."""
    if principal.tenant not in {SYSTEM_TENANT, tenant}:
        raise NotFound(f"There is no snapshot {config_hash} in this tenant.")
    return await catalogue.served(tenant, config_hash)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
