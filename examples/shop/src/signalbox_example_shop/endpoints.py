"""The shop's HTTP interface for reading; `write_endpoints` has the rest."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query

from signalbox_example_shop import returns
from signalbox_example_shop.dependencies import OrderNumber, ShopDep, require_token
from signalbox_example_shop.errors import Problem
from signalbox_example_shop.models import (
    Customer,
    FaqList,
    Health,
    Order,
    OrderList,
    OrderStatus,
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
router = APIRouter(
    dependencies=[Depends(require_token)],
    responses={401: {"model": Problem}, 404: {"model": Problem}, 422: {"model": Problem}},
)

Limit = Annotated[int, Query(ge=1, le=50)]


@public_router.get("/health")
async def get_health(shop: ShopDep) -> Health:
    """Say that the shop works; needs no token."""
    return shop.repository.health()


@router.get("/customers")
async def find_customer(
    shop: ShopDep, email: Annotated[str, Query(min_length=3, max_length=254)]
) -> Customer:
    """Look a customer up by e-mail address."""
    return shop.repository.customer_by_email(email)


@router.get("/customers/{customer_id}")
async def get_customer(shop: ShopDep, customer_id: str) -> Customer:
    """Look a customer up by id."""
    return shop.repository.customer(customer_id)


@router.get("/customers/{customer_id}/orders")
async def list_orders(
    shop: ShopDep, customer_id: str, status: OrderStatus | None = None, limit: Limit = 10
) -> OrderList:
    """List a customer's orders, newest first."""
    orders = shop.repository.orders_of(customer_id, status, limit)
    return OrderList(customer_id=customer_id.upper(), orders=orders)


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


@router.get("/products")
async def search_products(
    shop: ShopDep,
    q: Annotated[str | None, Query(max_length=200)] = None,
    category: Annotated[str | None, Query(max_length=40)] = None,
    max_price_cents: Annotated[int | None, Query(ge=0, le=100_000_000)] = None,
    limit: Limit = 10,
) -> ProductList:
    """Search the catalogue in English or Chinese; without `q`, list by price."""
    return ProductList(products=shop.repository.search_products(q, category, max_price_cents, limit))


@router.get("/products/{sku}")
async def get_product(shop: ShopDep, sku: str) -> Product:
    """Look a product up by its SKU."""
    return shop.repository.product(sku)


@router.get("/products/{sku}/stock")
async def get_stock(shop: ShopDep, sku: str) -> Stock:
    """Say how many pieces of a product can be sent today."""
    return shop.repository.stock(sku)


@router.get("/faq")
async def search_faq(
    shop: ShopDep,
    q: Annotated[str, Query(min_length=1, max_length=400)],
    language: Literal["en", "zh"] = "en",
    limit: Limit = 3,
) -> FaqList:
    """Search the frequently asked questions."""
    return FaqList(passages=shop.repository.faq(q, language, limit))
