"""Access tokens of the OAuth 2.0 client credentials grant (RFC 6749, section 4.4), kept until near expiry."""

import asyncio
import base64
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

import orjson

from signalbox.common.context import current_deadline
from signalbox.common.http_calls.errors import RETRYABLE, CallFailed
from signalbox.common.secrets import Secret
from signalbox.common.transport import Outbound, OutboundError, OutboundRefused, OutboundRequest
from signalbox.contracts.config import OAuth2Auth

_TIMEOUT_S = 10.0
_MARGIN_S = 30.0
_DEFAULT_LIFE_S = 300.0
_KEPT = 1000
_MAX_ANSWER_BYTES = 65_536

_Key = tuple[str, str, str, tuple[str, ...], str]


@dataclass(slots=True)
class _Held:
    """A token with its expiry on the monotonic clock; the lock lets one caller fetch while others wait."""

    token: Secret | None = None
    client_secret: Secret | None = None
    expires: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class TokenSource:
    """Fetches tokens through the guarded transport; one per tenant and client, shared by all its calls."""

    def __init__(self, outbound: Outbound, clock: Callable[[], float] = time.monotonic) -> None:
        self._outbound = outbound
        self._clock = clock
        self._held: OrderedDict[_Key, _Held] = OrderedDict()

    async def token(self, tenant: str, auth: OAuth2Auth, client_secret: Secret) -> Secret:
        """A token that is good for half a minute or more.

        Raises:
            CallFailed: the token endpoint cannot be reached or refuses.
        """
        held = self._held.setdefault(_key(tenant, auth), _Held())
        self._held.move_to_end(_key(tenant, auth))
        while len(self._held) > _KEPT:
            self._held.popitem(last=False)
        async with held.lock:
            fresh = held.client_secret == client_secret and self._clock() < held.expires
            if held.token is None or not fresh:
                token, life = await self._fetch(auth, client_secret)
                held.token, held.client_secret = token, client_secret
                held.expires = self._clock() + max(0.0, life - _MARGIN_S)
            return held.token

    def forget(self, tenant: str, auth: OAuth2Auth) -> bool:
        """Drop a token that was refused; says whether there was one."""
        return self._held.pop(_key(tenant, auth), None) is not None

    async def _fetch(self, auth: OAuth2Auth, client_secret: Secret) -> tuple[Secret, float]:
        form = {"grant_type": "client_credentials"}
        if auth.scopes:
            form["scope"] = " ".join(auth.scopes)
        if auth.audience:
            form["audience"] = auth.audience
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        if auth.client_auth == "client_secret_post":
            form |= {"client_id": auth.client_id, "client_secret": client_secret.reveal()}
        else:
            pair = f"{quote(auth.client_id, safe='')}:{quote(client_secret.reveal(), safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        request = OutboundRequest(
            "POST",
            auth.token_url,
            headers,
            urlencode(form).encode(),
            min(_TIMEOUT_S, current_deadline().check("an access token")),
            _MAX_ANSWER_BYTES,
        )
        try:
            response = await self._outbound.send(request)
        except OutboundError as error:
            raise _no_token(error) from error
        if response.status != 200:
            failure = CallFailed("upstream_error", f"The token endpoint answered HTTP {response.status}.")
            failure.unsent = True
            raise failure.worth_repeating() if response.status in RETRYABLE else failure
        try:
            answer = orjson.loads(response.body)
            return Secret(str(answer["access_token"])), float(answer.get("expires_in") or _DEFAULT_LIFE_S)
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise CallFailed("bad_response", "The token endpoint's answer holds no access token.") from error


def _no_token(error: OutboundError) -> CallFailed:
    detail = f"No access token could be had: {error.detail}"
    if isinstance(error, OutboundRefused):
        return CallFailed("refused", detail)
    failure = CallFailed("unreachable", detail).worth_repeating()
    failure.unsent = True
    return failure


def _key(tenant: str, auth: OAuth2Auth) -> _Key:
    return tenant, auth.token_url, auth.client_id, tuple(auth.scopes), auth.audience or ""
