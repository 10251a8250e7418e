"""HTTP requests that leave the system, as the config writes them: templates, auth, retry, response mapping."""

from typing import Annotated, Any, Literal

from pydantic import Field

from signalbox.contracts.base import ConfigModel, SecretRef


class BearerAuth(ConfigModel):
    """``Authorization: Bearer`` with a token kept as a secret (RFC 6750)."""

    type: Literal["bearer"] = "bearer"
    token: SecretRef


class BasicAuth(ConfigModel):
    """HTTP Basic authentication (RFC 7617)."""

    type: Literal["basic"] = "basic"
    username: str
    password: SecretRef


class ApiKeyAuth(ConfigModel):
    """A key sent in a header or in the query string."""

    type: Literal["api_key"] = "api_key"
    name: str = "X-API-Key"
    location: Literal["header", "query"] = "header"
    key: SecretRef


class OAuth2Auth(ConfigModel):
    """OAuth 2.0 client credentials grant (RFC 6749, section 4.4)."""

    type: Literal["oauth2"] = "oauth2"
    token_url: str
    client_id: str
    client_secret: SecretRef
    scopes: list[str] = []
    audience: str | None = None
    client_auth: Literal["client_secret_basic", "client_secret_post"] = "client_secret_basic"
    """How the token endpoint is told who asks: in the header ``Authorization``, or in the form beside the grant, where
    it knows no other (RFC 6749, section 2.3.1; names of RFC 7591)."""


class HmacAuth(ConfigModel):
    """HMAC-SHA256, in hexadecimal, sent in a header with the timestamp (epoch seconds).

    It is over ``signs``, joined by ``separator``: ``timestamp.body`` unless the service says otherwise. A signature
    without ``method``, ``path`` and ``query`` is as good for another request with the same body.
    """

    type: Literal["hmac"] = "hmac"
    secret: SecretRef
    signature_header: str = "X-Signature"
    timestamp_header: str = "X-Timestamp"
    signs: list[Literal["timestamp", "method", "path", "query", "body"]] = Field(
        default=["timestamp", "body"], min_length=1, max_length=5
    )
    """What is signed, in this order: ``path`` and ``query`` as they are sent, percent-encoded, the query without its
    question mark; ``method`` in capitals."""
    separator: str = Field(default=".", max_length=8)
    """Between the parts; ``"\\n"`` (in YAML, in double quotes) for lines."""


Auth = Annotated[BearerAuth | BasicAuth | ApiKeyAuth | OAuth2Auth | HmacAuth, Field(discriminator="type")]


class Retry(ConfigModel):
    """When a failed attempt is tried again.

    Of reads and ``idempotent`` writes any attempt is, of other writes only one of which nothing was sent.
    """

    attempts: int = Field(default=2, ge=1, le=10)
    """Attempts in all, the first included."""
    backoff_ms: int = Field(default=200, ge=0, le=60_000)
    """Wait before the second attempt; doubled for each further one, with jitter."""


class CircuitBreaker(ConfigModel):
    """When calls to what keeps failing are held back: they then fail at once, and nothing is sent.

    Failures are lost connections, timeouts and HTTP 500, 502, 503 and 504, each attempt for itself.
    """

    failure_share: float = Field(default=0.5, gt=0, le=1)
    """Share of the attempts in the window that must have failed."""
    min_calls: int = Field(default=10, ge=1, le=10_000)
    """Attempts in the window before the share counts."""
    window_seconds: int = Field(default=30, ge=1, le=3600)
    open_seconds: float = Field(default=10, gt=0, le=3600)
    """How long nothing is sent. Then one call is let through, and what it meets decides for the others."""


class HttpRequest(ConfigModel):
    """A request template. A placeholder that is the whole string keeps the type of its value.

    Templates see ``arguments``, ``vars`` (the workflow's variables), ``context`` (session, user, language)
    and, in flows, ``slots``.
    """

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"] = "GET"
    url: str = Field(min_length=1, max_length=4000)
    """Absolute URL; each placeholder in the path is percent-encoded as one segment."""
    headers: dict[str, str] = {}
    query: dict[str, Any] = {}
    """Query parameters; one whose value is none is left out, a list is repeated."""
    body: Any = None
    body_format: Literal["json", "form", "text"] = "json"


RefusalStatus = Literal[400, 402, 403, 404, 405, 406, 409, 410, 412, 415, 422, 423, 424, 451]
"""HTTP statuses (RFC 9110) by which a service refuses what was asked; not those that are about credentials or load."""


class ResponseMapping(ConfigModel):
    """What is kept of an answer."""

    select: str | None = None
    """JMESPath expression over the JSON body; none keeps the whole body."""
    error_when: str | None = None
    """JMESPath expression; a true result turns a 2xx answer into an error."""
    not_found_is_empty: bool = False
    """Treat 404 as a successful answer with ``null`` as its value."""
    answers: list[RefusalStatus] = []
    """Statuses besides 2xx whose body is an answer, mapped like any other: a service that says no in words which a
    model, or a branch of a flow, should have."""
    max_bytes: int = Field(default=262_144, ge=1, le=10_485_760)
    """A larger answer is an error, never cut silently."""
