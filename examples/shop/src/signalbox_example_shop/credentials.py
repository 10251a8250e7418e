"""Who may call: one secret (`SHOP_TOKEN`), shown in a way of its own to each part of the shop.

| part                       | how the secret is shown                                                    |
|----------------------------|----------------------------------------------------------------------------|
| orders, returns, refunds   | `Authorization: Bearer SECRET` (RFC 6750)                                  |
| catalogue                  | `X-Shop-Key: SECRET`                                                       |
| FAQ                        | HTTP Basic, user `faq` (RFC 7617)                                          |
| customers                  | an access token, had with OAuth 2.0 client credentials (RFC 6749, 4.4)     |
| courier                    | HMAC-SHA256 over `timestamp.body`, in `X-Courier-Signature`                |

A real firm has five services with five secrets; one is enough to show how each is named in a workflow.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
import time
from typing import Annotated

from fastapi import Header, Request

from signalbox_example_shop.dependencies import Shop, ShopDep
from signalbox_example_shop.errors import UnauthorizedError

CLIENT_ID = "assistant"
FAQ_USER = "faq"
TOKEN_LIFE_S = 600
_SIGNATURE_LIFE_S = 300

Authorization = Annotated[str | None, Header()]


def _same(given: str, expected: str) -> bool:
    return secrets.compare_digest(given.encode(), expected.encode())


def _pair(authorization: str | None) -> tuple[str, str]:
    """Return user and password of HTTP Basic; two empty texts when there are none."""
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return user, password


async def require_key(shop: ShopDep, x_shop_key: Annotated[str | None, Header()] = None) -> None:
    """Refuse a call without the catalogue's key."""
    if shop.token is not None and not _same(x_shop_key or "", shop.token):
        raise UnauthorizedError(
            "unauthorized", "Send the catalogue's key as 'X-Shop-Key: KEY'.", "X-Shop-Key"
        )


async def require_password(shop: ShopDep, authorization: Authorization = None) -> None:
    """Refuse a call without the FAQ's user and password."""
    if shop.token is None:
        return
    user, password = _pair(authorization)
    if not (_same(user, FAQ_USER) and _same(password, shop.token)):
        raise UnauthorizedError("unauthorized", f"Send user '{FAQ_USER}' and its password.", "Basic")


def issue_token(shop: Shop, authorization: str | None) -> str:
    """Return an access token for the client whose id and secret came with HTTP Basic.

    It holds its own end and a signature, so that nothing has to be kept. Raises `UnauthorizedError`.
    """
    client, secret = _pair(authorization)
    if shop.token is not None and not (_same(client, CLIENT_ID) and _same(secret, shop.token)):
        raise UnauthorizedError("invalid_client", f"Send client id '{CLIENT_ID}' and its secret.", "Basic")
    ends = str(int(time.time()) + TOKEN_LIFE_S)
    return f"{ends}.{_token_signature(shop, ends)}"


async def require_access_token(shop: ShopDep, authorization: Authorization = None) -> None:
    """Refuse a call without an access token that `POST /oauth/token` gave, or with one that is over."""
    if shop.token is None:
        return
    scheme, _, token = (authorization or "").partition(" ")
    ends, _, signature = token.partition(".")
    good = scheme.lower() == "bearer" and _same(signature, _token_signature(shop, ends))
    if not good or not ends.isdecimal() or int(ends) < time.time():
        raise UnauthorizedError("unauthorized", "Get an access token from POST /oauth/token.")


def _token_signature(shop: Shop, ends: str) -> str:
    return hmac.new((shop.token or "").encode(), f"account.{ends}".encode(), hashlib.sha256).hexdigest()


async def require_signature(
    request: Request,
    shop: ShopDep,
    x_courier_signature: Annotated[str | None, Header()] = None,
    x_courier_time: Annotated[str | None, Header()] = None,
) -> None:
    """Refuse a call that is not signed, or was signed more than five minutes ago."""
    if shop.token is None:
        return
    signed = (x_courier_time or "").encode() + b"." + await request.body()
    expected = hmac.new(shop.token.encode(), signed, hashlib.sha256).hexdigest()
    moment = int(x_courier_time) if x_courier_time and x_courier_time.isdecimal() else 0
    good = _same(x_courier_signature or "", expected) and abs(time.time() - moment) <= _SIGNATURE_LIFE_S
    if not good:
        raise UnauthorizedError("unauthorized", "Sign 'time.body' with HMAC-SHA256.", "X-Courier-Signature")
