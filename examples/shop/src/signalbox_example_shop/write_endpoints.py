"""The shop's HTTP interface for changes; each honours `Idempotency-Key`."""

from fastapi import APIRouter, Depends, Response

from signalbox_example_shop.delivery import estimate_delivery
from signalbox_example_shop.dependencies import IdempotencyKey, OrderNumber, ShopDep, require_token
from signalbox_example_shop.errors import Problem
from signalbox_example_shop.idempotency import write_once
from signalbox_example_shop.models import (
    Address,
    Cancellation,
    CancelRequest,
    DeliveryEstimate,
    DeliveryRequest,
    Order,
    Return,
    ReturnRequest,
)
from signalbox_example_shop.order_changes import cancel_order, change_address
from signalbox_example_shop.returns import create_return, withdraw_return

router = APIRouter(
    dependencies=[Depends(require_token)],
    responses={
        401: {"model": Problem},
        404: {"model": Problem},
        409: {"model": Problem},
        422: {"model": Problem},
    },
)


@router.post("/returns", status_code=201, response_model=Return)
async def post_return(shop: ShopDep, request: ReturnRequest, key: IdempotencyKey = None) -> Response:
    """Accept a return of a delivered order within 30 days; without items, of everything still returnable."""
    now = shop.clock()
    return write_once(
        shop.connection,
        route="/returns",
        key=key,
        request=request,
        status=201,
        now=now,
        write=lambda: create_return(shop.connection, request, now),
    )


@router.post("/returns/{return_id}/withdraw", response_model=Return)
async def post_withdraw(
    shop: ShopDep, return_id: str, request: CancelRequest, key: IdempotencyKey = None
) -> Response:
    """Take back a return whose parcel has not arrived, as if it had not been asked for."""
    return write_once(
        shop.connection,
        route=f"/returns/{return_id}/withdraw",
        key=key,
        request=request,
        status=200,
        now=shop.clock(),
        write=lambda: withdraw_return(shop.connection, return_id),
    )


@router.post("/orders/{order_number}/cancel", response_model=Cancellation)
async def post_cancel(
    shop: ShopDep, order_number: OrderNumber, request: CancelRequest, key: IdempotencyKey = None
) -> Response:
    """Cancel an order that is still being processed and refund it."""
    now = shop.clock()
    return write_once(
        shop.connection,
        route=f"/orders/{order_number}/cancel",
        key=key,
        request=request,
        status=200,
        now=now,
        write=lambda: cancel_order(shop.connection, order_number, now),
    )


@router.put("/orders/{order_number}/address", response_model=Order)
async def put_address(
    shop: ShopDep, order_number: OrderNumber, address: Address, key: IdempotencyKey = None
) -> Response:
    """Change where an order that is still being processed goes."""
    return write_once(
        shop.connection,
        route=f"/orders/{order_number}/address",
        key=key,
        request=address,
        status=200,
        now=shop.clock(),
        write=lambda: change_address(shop.connection, order_number, address),
    )


@router.post("/delivery-estimates")
async def post_delivery_estimate(shop: ShopDep, request: DeliveryRequest) -> DeliveryEstimate:
    """Say when a parcel sent today would arrive in a country; changes nothing."""
    return estimate_delivery(request.country, shop.clock().date(), express=request.express)
