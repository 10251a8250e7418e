"""The courier's HTTP interface: every request is signed, reads as well as bookings."""

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from signalbox_example_shop.courier import (
    Pickup,
    PickupDay,
    PickupRequest,
    book_pickup,
    load_pickup,
    pickup_day,
)
from signalbox_example_shop.credentials import require_signature
from signalbox_example_shop.dependencies import IdempotencyKey, OrderNumber, ShopDep
from signalbox_example_shop.errors import Problem
from signalbox_example_shop.idempotency import write_once

router = APIRouter(
    dependencies=[Depends(require_signature)],
    responses={
        401: {"model": Problem},
        404: {"model": Problem},
        409: {"model": Problem},
        422: {"model": Problem},
    },
)


@router.get("/courier/days")
async def get_pickup_day(shop: ShopDep, day: Annotated[date, Query()]) -> PickupDay:
    """Say whether the courier collects on a day."""
    return pickup_day(day, shop.clock().date())


@router.post("/courier/pickups", status_code=201, response_model=Pickup)
async def post_pickup(shop: ShopDep, request: PickupRequest, key: IdempotencyKey = None) -> Response:
    """Book the collection of a return."""
    now = shop.clock()
    return write_once(
        shop.connection,
        route="/courier/pickups",
        key=key,
        request=request,
        status=201,
        now=now,
        write=lambda: book_pickup(shop.connection, request, now),
    )


@router.get("/courier/pickups/{order_number}")
async def get_pickup(shop: ShopDep, order_number: OrderNumber) -> Pickup:
    """Say when the return of an order is collected."""
    return load_pickup(shop.connection, order_number)
