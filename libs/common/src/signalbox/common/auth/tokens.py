"""Short-lived tokens of calls between services: JWT (RFC 7519) signed with HMAC-SHA256.

A token names its audience, the tenant and the principal that it acts for, so that a stolen one opens one
service for one tenant and a minute. Tokens are reused until near expiry, and verified ones are remembered, so
that a hop costs a dictionary look-up.
"""

import time
from collections import OrderedDict
from typing import Any, TypeVar

from signalbox.common.auth import hs256
from signalbox.common.errors import Unauthenticated
from signalbox.contracts.admin import ServiceName
from signalbox.contracts.identity import Principal, Scope

SYSTEM_TENANT = "system"
"""Tenant of calls that belong to no customer, such as following Admin's change feed."""

_TTL_S = 120
_REFRESH_S = 30
_SKEW_S = 5
"""How far the clocks of two services may be apart."""
_REMEMBERED = 4096
_SCOPES = frozenset(scope.value for scope in Scope)

K = TypeVar("K")
V = TypeVar("V")


class ServiceTokens:
    """Mints and verifies the tokens of one process."""

    def __init__(self, secret: str, service: str) -> None:
        self._secret = secret
        self._service = service
        self._minted: OrderedDict[tuple[str, Principal], tuple[str, float]] = OrderedDict()
        self._verified: OrderedDict[tuple[str, str], tuple[Principal, float]] = OrderedDict()

    def mint(self, audience: ServiceName, principal: Principal | None = None) -> str:
        """A token for calling ``audience`` on behalf of ``principal``; none is this service itself."""
        who = principal or Principal(tenant=SYSTEM_TENANT, subject=f"service:{self._service}")
        now = time.time()
        key = (audience, who)
        known = self._minted.get(key)
        # One that lives longer than any was made before the clock was set back: to others it is of the future.
        if known is not None and _REFRESH_S < known[1] - now <= _TTL_S:
            return known[0]
        expires = now + _TTL_S
        claims = {
            "iss": self._service,
            "aud": audience,
            "sub": who.subject,
            "ten": who.tenant,
            "scp": sorted(who.scopes | {Scope.SERVICE}),
            "wfs": None if who.workflows is None else sorted(who.workflows),
            "iat": int(now),
            "exp": int(expires),
        }
        token = hs256.sign(claims, self._secret)
        _remember(self._minted, key, (token, expires))
        return token

    def verify(self, token: str, audience: ServiceName) -> Principal:
        """The principal that a token acts for.

        Raises:
            Unauthenticated: the token is not ours, not for this service, or expired.
        """
        now = time.time()
        known = self._verified.get((audience, token))
        if known is not None and known[1] > now:
            return known[0]
        try:
            claims = hs256.read(token, self._secret)
            _check(claims, audience, now)
        except hs256.BadToken as error:
            raise Unauthenticated(
                f"The service token is not valid here ({error}); check that all services share one "
                "SIGNALBOX_SERVICE_SECRET and that their clocks agree."
            ) from error
        # A caller of the next version may know scopes that this one does not: they open nothing here.
        scopes = frozenset(Scope(name) for name in claims["scp"] if name in _SCOPES)
        principal = Principal(
            tenant=claims["ten"], subject=claims["sub"], scopes=scopes, workflows=claims["wfs"]
        )
        _remember(self._verified, (audience, token), (principal, float(claims["exp"])))
        return principal


def _check(claims: dict[str, Any], audience: ServiceName, now: float) -> None:
    """Raise BadToken for claims that hold somewhere else or at another time (RFC 7519, section 4.1)."""
    if claims.get("aud") != audience:
        raise hs256.BadToken(f"it is not for {audience}")
    if not isinstance(claims.get("sub"), str):
        raise hs256.BadToken("it names no subject")
    if not isinstance(claims.get("ten"), str):
        raise hs256.BadToken("it names no tenant")
    if not _is_texts(claims.get("scp")) or not (claims.get("wfs") is None or _is_texts(claims["wfs"])):
        raise hs256.BadToken("its scopes and workflows are no lists")
    # Said so that a number that is none (NaN) is in neither span.
    if not (_is_number(claims.get("exp")) and claims["exp"] > now - _SKEW_S):
        raise hs256.BadToken("it has expired")
    if not (_is_number(claims.get("iat")) and claims["iat"] <= now + _SKEW_S):
        raise hs256.BadToken("it was made in the future")


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _remember(cache: OrderedDict[K, V], key: K, value: V) -> None:
    cache[key] = value
    cache.move_to_end(key)
    while len(cache) > _REMEMBERED:
        cache.popitem(last=False)
