"""JSON Web Tokens (RFC 7519) in compact form (RFC 7515, section 7.1), signed with HMAC-SHA256 and nothing else.

A library for all algorithms takes a tenth of a second of every start, for its elliptic curves; what one secret
shared by all services needs is `hmac`. As the algorithm is fixed, no token can choose another.
"""

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

_ALGORITHM = "HS256"


class BadToken(ValueError):
    """The text is no token signed with the secret; the message says what is wrong with it."""


def sign(claims: Mapping[str, Any], secret: str) -> str:
    """The token of ``claims``, which are JSON values."""
    signed = f"{_segment({'alg': _ALGORITHM, 'typ': 'JWT'})}.{_segment(claims)}"
    return f"{signed}.{_signature(signed, secret)}"


def read(token: str, secret: str) -> dict[str, Any]:
    """The claims of a token that was signed with ``secret``; what they say is the caller's to check.

    Raises:
        BadToken: it was signed with something else, changed since, or is no token.
    """
    signed, _, signature = token.rpartition(".")
    if not hmac.compare_digest(_signature(signed, secret).encode(), signature.encode(errors="replace")):
        raise BadToken("its signature is not that of this secret")
    header, _, payload = signed.partition(".")
    # RFC 8725, section 3.1: also a token that somebody signed with our secret says how; "crit" asks for what
    # nobody here understands (RFC 7515, section 4.1.11).
    said = _content(header)
    if said.get("alg") != _ALGORITHM or "crit" in said:
        raise BadToken(f"it is not signed with {_ALGORITHM}")
    return _content(payload)


def _signature(signed: str, secret: str) -> str:
    return _text(hmac.digest(secret.encode(), signed.encode(errors="replace"), hashlib.sha256))


def _segment(content: Mapping[str, Any]) -> str:
    return _text(json.dumps(content, separators=(",", ":")).encode())


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _content(segment: str) -> dict[str, Any]:
    try:
        content = json.loads(urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    except (ValueError, RecursionError) as error:
        raise BadToken("it is no JSON in base64url") from error
    if not isinstance(content, dict):
        raise BadToken("it is no JSON object")
    return content
