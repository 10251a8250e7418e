"""The customers' accounts: behind access tokens, as what is personal should be."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Header, Query
from pydantic import BaseModel

from signalbox_example_shop.credentials import TOKEN_LIFE_S, issue_token, require_access_token
from signalbox_example_shop.dependencies import ShopDep
from signalbox_example_shop.errors import Problem
from signalbox_example_shop.models import Customer, OrderList, OrderStatus

public_router = APIRouter()
router = APIRouter(
    dependencies=[Depends(require_access_token)],
    responses={401: {"model": Problem}, 404: {"model": Problem}, 422: {"model": Problem}},
)

Limit = Annotated[int, Query(ge=1, le=50)]


class AccessToken(BaseModel):
    """What the token endpoint gives (RFC 6749, section 5.1)."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - a kind, not a token
    expires_in: int = TOKEN_LIFE_S


@public_router.post("/oauth/token", responses={401: {"model": Problem}})
async def post_token(shop: ShopDep, authorization: Annotated[str | None, Header()] = None) -> AccessToken:
    """Give a client that shows its id and secret an access token for ten minutes."""
    return AccessToken(access_token=issue_token(shop, authorization))


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
