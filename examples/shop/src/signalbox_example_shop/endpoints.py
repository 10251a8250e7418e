"""The shop's HTTP interface for reading: orders, catalogue and FAQ; `write_endpoints` changes things."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query

from signalbox_example_shop import returns
from signalbox_example_shop.credentials import require_key, require_password
from signalbox_example_shop.dependencies import OrderNumber, ShopDep, require_token
from signalbox_example_shop.errors import Problem
from signalbox_example_shop.models import (
    FaqList,
    Health,
    Order,
    Product,
    ProductList,
    Refund,
    RefundList,
    Return,
    ReturnEligibility,
    Stock,
    Tracking,
)

public_router = APIRouter()
_REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"model": Problem},
    404: {"model": Problem},
    422: {"model": Problem},
}
router = APIRouter(dependencies=[Depends(require_token)], responses=_REFUSALS)
catalogue_router = APIRouter(dependencies=[Depends(require_key)], responses=_REFUSALS)
faq_router = APIRouter(dependencies=[Depends(require_password)], responses=_REFUSALS)

Limit = Annotated[int, Query(ge=1, le=50)]


@public_router.get("/health")
async def get_health(shop: ShopDep) -> Health:
    """Say that the shop works; needs no token."""
    return shop.repository.health()


@router.get("/orders/{order_number}")
async def get_order(shop: ShopDep, order_number: OrderNumber) -> Order:
    """Look an order up by its number."""
    return shop.repository.order(order_number)


@router.get("/orders/{order_number}/tracking")
async def get_tracking(shop: ShopDep, order_number: OrderNumber) -> Tracking:
    """Say where an order's parcel is and what has happened to it."""
    return shop.repository.tracking(order_number, shop.clock())


@router.get("/orders/{order_number}/return-eligibility")
async def get_return_eligibility(shop: ShopDep, order_number: OrderNumber) -> ReturnEligibility:
    """Say whether an order can be returned now, what of it, and how much would be refunded."""
    return returns.eligibility(shop.repository.order(order_number), shop.clock())


@router.get("/orders/{order_number}/refunds")
async def list_refunds(shop: ShopDep, order_number: OrderNumber) -> RefundList:
    """List an order's refunds, newest first."""
    refunds = shop.repository.refunds_of(order_number)
    return RefundList(
        order_number=order_number, status=refunds[0].status if refunds else "none", refunds=refunds
    )


@router.get("/returns/{return_id}")
async def get_return(shop: ShopDep, return_id: str) -> Return:
    """Look a return up by its id."""
    return returns.load_return(shop.connection, return_id)


@router.get("/refunds/{refund_id}")
async def get_refund(shop: ShopDep, refund_id: str) -> Refund:
    """Look a refund up by its id."""
    return shop.repository.refund(refund_id)


@catalogue_router.get("/products")
async def search_products(
    shop: ShopDep,
    q: Annotated[str | None, Query(max_length=200)] = None,
    category: Annotated[str | None, Query(max_length=40)] = None,
    max_price_cents: Annotated[int | None, Query(ge=0, le=100_000_000)] = None,
    limit: Limit = 10,
) -> ProductList:
    """Search the catalogue in English or Chinese; without `q`, list by price."""
    return ProductList(products=shop.repository.search_products(q, category, max_price_cents, limit))


@catalogue_router.get("/products/{sku}")
async def get_product(shop: ShopDep, sku: str) -> Product:
    """Look a product up by its SKU."""
    return shop.repository.product(sku)


@catalogue_router.get("/products/{sku}/stock")
async def get_stock(shop: ShopDep, sku: str) -> Stock:
    """Say how many pieces of a product can be sent today."""
    return shop.repository.stock(sku)


@faq_router.get("/faq")
async def search_faq(
    shop: ShopDep,
    q: Annotated[str, Query(min_length=1, max_length=400)],
    language: Literal["en", "zh"] = "en",
    limit: Limit = 3,
) -> FaqList:
    """Search the frequently asked questions."""
    return FaqList(passages=await shop.faq.search(q, language, limit))
