"""From the security of an OpenAPI operation to the ``auth`` of a tool: which secret, never its value."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

from signalbox.common.record import record
from signalbox.tools.importing.openapi_document import OpenApiDocument, Operation


@record
class Credentials:
    """How a tool authenticates, and what is left to be done about it by hand."""

    auth: dict[str, Any] | None
    note: str = ""


@record
class Login:
    """What a document does not say: ``name`` begins the names of secrets; the ids are the operator's own."""

    name: str
    client_id: str = ""
    username: str = ""


def credentials(document: OpenApiDocument, operation: Operation, login: Login, server: str) -> Credentials:
    """The credentials of an operation: of its alternatives the first that can be had.

    ``server`` is the base URL, which relative token URLs are relative to.
    """
    alternatives = operation.content.get("security", document.content.get("security"))
    if not isinstance(alternatives, list) or not alternatives:
        return Credentials(None)
    schemes = _schemes(document)
    reason = ""
    for alternative in alternatives:
        if not isinstance(alternative, Mapping):
            continue
        if not alternative:
            return Credentials(None)
        (name, scopes), *others = alternative.items()
        found = _auth(schemes.get(name), scopes if isinstance(scopes, list) else [], login, server)
        if others:
            also = ", ".join(str(other) for other, _ in others)
            reason = f"it needs '{name}' together with {also}; a tool has one kind of credential"
        elif found.auth is not None:
            return found
        else:
            reason = reason or f"'{name}' {found.note}"
    return Credentials(None, f"its credential is left out: {reason}")


def _schemes(document: OpenApiDocument) -> Mapping[str, Any]:
    if document.is_swagger:
        found = document.content.get("securityDefinitions")
    else:
        components = document.content.get("components")
        found = components.get("securitySchemes") if isinstance(components, Mapping) else None
    resolved = found if isinstance(found, Mapping) else {}
    return {str(name): document.resolved(scheme) for name, scheme in resolved.items()}


def _auth(scheme: Any, scopes: list[Any], login: Login, server: str) -> Credentials:
    if not isinstance(scheme, Mapping):
        return Credentials(None, "is not described in the document")
    kind = scheme.get("type")
    if kind == "apiKey":
        return _api_key(scheme, login)
    if kind == "basic" or (kind == "http" and str(scheme.get("scheme")).lower() == "basic"):
        password = f"secret:{login.name}-password"
        username = login.username or login.name
        note = "" if login.username else f"the user name '{username}' is a guess; give yours with --username"
        return Credentials({"type": "basic", "username": username, "password": password}, note)
    if kind == "oauth2":
        return _oauth2(scheme, [str(scope) for scope in scopes], login, server)
    if kind == "openIdConnect" or (kind == "http" and str(scheme.get("scheme")).lower() == "bearer"):
        return Credentials(_bearer(login))
    return Credentials(None, f"is of a type that tools do not have ({kind})")


def _api_key(scheme: Mapping[str, Any], login: Login) -> Credentials:
    name, location = str(scheme.get("name") or "X-API-Key"), scheme.get("in")
    if location not in {"header", "query"}:
        return Credentials(None, "is a key in a cookie, which tools do not send")
    if location == "header" and name.lower() == "authorization" and "bearer" in str(scheme).lower():
        return Credentials(_bearer(login))
    key = f"secret:{login.name}-key"
    return Credentials({"type": "api_key", "name": name, "location": location, "key": key})


def _oauth2(scheme: Mapping[str, Any], scopes: list[str], login: Login, server: str) -> Credentials:
    flows = scheme.get("flows")
    flow: Any = flows.get("clientCredentials") if isinstance(flows, Mapping) else None
    if flow is None and scheme.get("flow") == "application":  # OpenAPI 2.0's name of the same
        flow = scheme
    if not isinstance(flow, Mapping) or not flow.get("tokenUrl"):
        return Credentials(
            _bearer(login),
            f"its OAuth2 flow needs a person; put a token that you were given into secret:{login.name}-token",
        )
    token_url = str(flow["tokenUrl"])
    if not urlsplit(token_url).scheme:
        token_url = urljoin(f"{server}/", token_url)
    client_id = login.client_id or login.name
    note = "" if login.client_id else f"the client id '{client_id}' is a guess; give yours with --client-id"
    auth = {
        "type": "oauth2",
        "token_url": token_url,
        "client_id": client_id,
        "client_secret": f"secret:{login.name}-client-secret",
    }
    return Credentials({**auth, "scopes": scopes} if scopes else auth, note)


def _bearer(login: Login) -> dict[str, Any]:
    return {"type": "bearer", "token": f"secret:{login.name}-token"}
