"""Turns the credential of a request into a principal."""

from collections.abc import Mapping

from signalbox.common.auth.keys import KEY_PREFIX, KeyRing
from signalbox.common.auth.tokens import ServiceTokens
from signalbox.common.errors import Unauthenticated
from signalbox.contracts.admin import ServiceName
from signalbox.contracts.identity import DEFAULT_TENANT, Principal, Scope

LOCAL_PRINCIPAL = Principal(
    tenant=DEFAULT_TENANT, subject="local", scopes=frozenset(Scope) - {Scope.SERVICE}, workflows=None
)
"""Who asks without a credential when ``auth=local``: the person at this machine."""


_TOKEN_DOTS = 2
"""A service token is three parts, separated by dots (RFC 7515, section 7.1)."""


class Authenticator:
    """Verifies API keys and service tokens, from memory."""

    def __init__(self, service: ServiceName, tokens: ServiceTokens, *, allow_local: bool) -> None:
        self._service = service
        self._tokens = tokens
        self._allow_local = allow_local
        self.keys = KeyRing()

    def authenticate(self, headers: Mapping[str, str]) -> Principal:
        """The principal of a request, from ``Authorization: Bearer`` or ``X-API-Key``.

        Raises:
            Unauthenticated: there is no credential, or it is not good.
        """
        credential = headers.get("x-api-key")
        if credential is None:
            scheme, _, value = headers.get("authorization", "").partition(" ")
            credential = value.strip() if scheme.lower() == "bearer" else None
        if credential and credential.startswith(KEY_PREFIX):
            return self.keys.verify(credential)
        if credential and credential.count(".") == _TOKEN_DOTS:
            return self._tokens.verify(credential, self._service)
        if self._allow_local:
            # SDKs of others insist on some key; what cannot be one of ours counts as none.
            return LOCAL_PRINCIPAL
        raise Unauthenticated("Send an API key as 'Authorization: Bearer sbx_...'.")
