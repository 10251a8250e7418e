"""Internal calls about what is kept."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from signalbox.common.auth import Requires
from signalbox.common.web.routes import LateRoute
from signalbox.contracts.identity import Principal, Scope
from signalbox.contracts.keeping import Forgotten, KeptData, KeptDataRequest, OfSessions
from signalbox.llm_gateway.keeping.service import GatewayKeeping

router = APIRouter(prefix="/internal/v1/llm_gateway", tags=["internal"], route_class=LateRoute)

Sibling = Annotated[Principal, Depends(Requires(Scope.SERVICE))]


async def gateway_keeping(request: Request) -> GatewayKeeping:
    """What is kept by this app."""
    keeping: GatewayKeeping = request.app.state.keeping
    return keeping


Keeping = Annotated[GatewayKeeping, Depends(gateway_keeping)]


@router.post("/forget")
async def forget(body: OfSessions, principal: Sibling, keeping: Keeping) -> Forgotten:
    """Forget whose calls were in the ledger, and the answers that are kept of them."""
    return await keeping.forget(principal.tenant, body)


@router.post("/kept")
async def kept(body: KeptDataRequest, principal: Sibling, keeping: Keeping) -> KeptData:
    """The calls of sessions or of a user, a page of them."""
    return await keeping.page(principal.tenant, body)
