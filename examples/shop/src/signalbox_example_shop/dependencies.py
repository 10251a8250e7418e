"""What every endpoint may ask for: the connection, the time, and a caller who may call."""

import secrets
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, Header, Path, Request

from signalbox_example_shop.errors import UnauthorizedError
from signalbox_example_shop.faq import Faq
from signalbox_example_shop.repository import Repository

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return the present moment in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Shop:
    """What a running shop holds; one per application, made when it starts."""

    connection: sqlite3.Connection
    clock: Clock
    token: str | None
    faq: Faq

    @property
    def repository(self) -> Repository:
        """The reads of this shop."""
        return Repository(self.connection)


# These are coroutines, as the endpoints are: a point query on a local file takes less time than handing it to
# a thread, and one thread makes the order of writes plain.
async def running_shop(request: Request) -> Shop:
    """Return the shop that the request came to."""
    shop: Shop = request.app.state.shop
    return shop


OrderNumber = Annotated[int, Path(ge=0, le=999_999_999)]
ShopDep = Annotated[Shop, Depends(running_shop)]
IdempotencyKey = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=255)]


async def require_token(shop: ShopDep, authorization: Annotated[str | None, Header()] = None) -> None:
    """Refuse a call without the shop's bearer token, when it has one."""
    if shop.token is None:
        return
    scheme, _, given = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not secrets.compare_digest(given.encode(), shop.token.encode()):
        raise UnauthorizedError("unauthorized", "Send the shop's token as 'Authorization: Bearer TOKEN'.")
