"""Authorisation of outgoing requests: secrets are resolved here, at the moment of the call."""

import base64
import hashlib
import hmac
import time
from collections.abc import Callable
from dataclasses import field, replace
from urllib.parse import urlsplit

from signalbox.common.http_calls.oauth2 import TokenSource
from signalbox.common.http_calls.rendering import RenderedRequest, with_query
from signalbox.common.record import record
from signalbox.common.secrets import MASK, Secret, SecretStore, secret_name
from signalbox.contracts.config import ApiKeyAuth, Auth, BasicAuth, BearerAuth, HmacAuth, OAuth2Auth


@record
class AuthorisedRequest:
    """A request as it is sent, and the secrets in it, to be masked wherever the answer repeats them."""

    request: RenderedRequest
    secrets: list[Secret] = field(default_factory=list)


class Authoriser:
    """Adds credentials to requests."""

    def __init__(
        self, secrets: SecretStore, tokens: TokenSource, clock: Callable[[], float] = time.time
    ) -> None:
        self._secrets = secrets
        self._tokens = tokens
        self._clock = clock

    async def authorise(self, request: RenderedRequest, auth: Auth | None, tenant: str) -> AuthorisedRequest:
        """The request with its credentials.

        Raises:
            SecretNotFound: a secret is not set.
            CallFailed: no OAuth 2.0 token could be had.
        """
        if auth is None:
            return AuthorisedRequest(request)
        if isinstance(auth, OAuth2Auth):
            client_secret = await self._secret(tenant, auth.client_secret)
            token = await self._tokens.token(tenant, auth, client_secret)
            return AuthorisedRequest(_bearing("Bearer", token, request), [token, client_secret])
        if isinstance(auth, BearerAuth):
            secret = await self._secret(tenant, auth.token)
            return AuthorisedRequest(_bearing("Bearer", secret, request), [secret])
        if isinstance(auth, BasicAuth):
            secret = await self._secret(tenant, auth.password)
            pair = Secret(base64.b64encode(f"{auth.username}:{secret.reveal()}".encode()).decode())
            return AuthorisedRequest(_bearing("Basic", pair, request), [secret, pair])
        if isinstance(auth, ApiKeyAuth):
            secret = await self._secret(tenant, auth.key)
            return AuthorisedRequest(_with_key(request, auth, secret.reveal()), [secret])
        secret = await self._secret(tenant, auth.secret)
        return AuthorisedRequest(_signed(request, auth, secret.reveal(), str(int(self._clock()))), [secret])

    def forget(self, auth: Auth | None, tenant: str) -> bool:
        """Drop what was kept for credentials that were refused; says whether there was anything."""
        return isinstance(auth, OAuth2Auth) and self._tokens.forget(tenant, auth)

    async def _secret(self, tenant: str, reference: str) -> Secret:
        return await self._secrets.get(tenant, secret_name(reference))


def masked(request: RenderedRequest, auth: Auth | None) -> RenderedRequest:
    """The request as it would be sent, with ``***`` in place of every credential; no secret is resolved."""
    if auth is None:
        return request
    if isinstance(auth, ApiKeyAuth):
        shown = _with_key(request, auth, MASK)
        return replace(shown, url=shown.url.replace("%2A%2A%2A", MASK))
    if isinstance(auth, HmacAuth):
        shown = _with_header(request, auth.timestamp_header, MASK)
        return _with_header(shown, auth.signature_header, MASK)
    scheme = "Basic" if isinstance(auth, BasicAuth) else "Bearer"
    return _with_header(request, "Authorization", f"{scheme} {MASK}")


def _bearing(scheme: str, credential: Secret, request: RenderedRequest) -> RenderedRequest:
    return _with_header(request, "Authorization", f"{scheme} {credential.reveal()}")


def _with_header(request: RenderedRequest, name: str, value: str) -> RenderedRequest:
    others = {key: text for key, text in request.headers.items() if key.lower() != name.lower()}
    return replace(request, headers={**others, name: value})


def _with_key(request: RenderedRequest, auth: ApiKeyAuth, value: str) -> RenderedRequest:
    if auth.location == "header":
        return _with_header(request, auth.name, value)
    return replace(request, url=with_query(request.url, [(auth.name, value)]))


def _signed(request: RenderedRequest, auth: HmacAuth, secret: str, timestamp: str) -> RenderedRequest:
    signature = hmac.new(secret.encode(), _signed_bytes(request, auth, timestamp), hashlib.sha256).hexdigest()
    return _with_header(
        _with_header(request, auth.timestamp_header, timestamp), auth.signature_header, signature
    )


def _signed_bytes(request: RenderedRequest, auth: HmacAuth, timestamp: str) -> bytes:
    """What a signature is over: the parts that the config names, in its order, as they are sent."""
    place = urlsplit(request.url)
    parts = {
        "timestamp": timestamp.encode(),
        "method": request.method.encode(),
        "path": (place.path or "/").encode(),
        "query": place.query.encode(),
        "body": request.body,
    }
    return auth.separator.encode().join(parts[name] for name in auth.signs)
