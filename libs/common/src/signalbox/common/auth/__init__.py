"""Who is asking: API keys, tokens of calls between services, and the scope that each route needs."""

from signalbox.common.auth.authenticator import LOCAL_PRINCIPAL, Authenticator
from signalbox.common.auth.keys import KeyRing, NewKey, create_key, hash_secret
from signalbox.common.auth.routes import PUBLIC, Requires, check_context, permitted, principal_of
from signalbox.common.auth.tokens import SYSTEM_TENANT, ServiceTokens

__all__ = [
    "LOCAL_PRINCIPAL",
    "PUBLIC",
    "SYSTEM_TENANT",
    "Authenticator",
    "KeyRing",
    "NewKey",
    "Requires",
    "ServiceTokens",
    "check_context",
    "create_key",
    "hash_secret",
    "permitted",
    "principal_of",
]
