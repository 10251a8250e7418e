"""HTTP requests of tools and functions: URL, method, headers, body, credentials, and what is kept of the answer."""

import base64
import binascii
import re
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from signalbox.common.importing.credentials import is_value, reference
from signalbox.common.importing.parameters import Parameters, argument
from signalbox.common.importing.report import Report
from signalbox.common.importing.source import Source, entries
from signalbox.common.importing.texts import Scope, Texts
from signalbox.common.pointers import Path
from signalbox.common.validation.secrets_check import is_secret_name

_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"})
_NESTED = (
    "request",
    "http",
    "http_config",
    "api_config",
    "request_config",
    "api",
    "endpoint_config",
    "config",
)
_URL = ("url", "endpoint", "api_url", "api_endpoint", "uri", "request_url", "path")
_VARIABLE = re.compile(
    r"\$\{?(?P<upper>[A-Z][A-Z0-9_]{2,})\}?|\{\{?\s*(?:env|vars|variables|config)\.(?P<name>\w+)\s*\}?\}"
)
_PLACEHOLDER = re.compile(r"\{\{\s*([^{}]+?)\s*\}\}|\$\{([^{}]+)\}|\{([^\W\d][\w.]*)\}|(?<=/):([A-Za-z_]\w*)")
_UNKNOWN_HOST = "https://example.invalid"
_ASKS = frozenset({"GET", "HEAD"})
_IN_QUERY = frozenset({"GET", "HEAD", "DELETE"})
_DATA = {
    "json": "json",
    "form": "form",
    "x-www-form-urlencoded": "form",
    "urlencoded": "form",
    "text": "text",
}


class Requests:
    """Reads the requests of one file; variables for hosts are collected in ``variables``."""

    def __init__(self, report: Report, texts: Texts, context: dict[str, str]) -> None:
        self._report = report
        self._texts = texts
        self._context = context
        self.variables: dict[str, Any] = {}
        self.base_url = ""

    def read(self, source: Source, parameters: Parameters, name: str) -> dict[str, Any] | None:
        """``request`` and what belongs to it, as fields of a tool; None where the file has no URL for it."""
        for key in _NESTED:
            nested = source.object(key)
            if nested is not None and nested.has(*_URL):
                read = self._read(nested, parameters, name)
                nested.close()
                self._beside(source, name, read)
                return read
        if not source.has(*_URL):
            return None
        return self._read(source, parameters, name)

    def _read(self, source: Source, parameters: Parameters, name: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        scope = self._scope(parameters)
        url_path = source.at(*_URL)
        method = (source.text("method", "http_method", "request_method", "verb") or "").strip().upper()
        written = source.text(*_URL).strip()
        leading = re.match(r"(GET|POST|PUT|PATCH|DELETE|HEAD)\s+", written)
        if leading is not None:
            method, written = method or leading[1], written[leading.end() :]
        if method and method not in _METHODS:
            self._report.lost(
                source.path, "the method of a request", "it is none that is sent here.", "Set it by hand."
            )
            method = ""
        headers, query, auth = self._headers(source, scope, name)
        url, more, from_url = self._url(written, url_path, parameters, name)
        query |= {key: value for key, value in more.items() if key not in query}
        auth = self._auth(source, name) or auth or from_url
        query, auth = self._query(source, query, auth, scope, name)
        body_path = source.at("body", "data", "payload", "body_template", "request_body", "json")
        body = source.take("body", "data", "payload", "body_template", "request_body", "json")
        method = method or ("POST" if body not in (None, "") else "GET")
        request: dict[str, Any] = {"method": method, "url": url}
        if body not in (None, ""):
            request["body"] = self._without_secrets(self._texts.value(body, body_path, scope), body_path)
        form = source.text("body_format", "content_type", "body_type").rpartition("/")[2].lower()
        if form in _DATA and _DATA[form] != "json":
            request["body_format"] = _DATA[form]
        if headers:
            request["headers"] = headers
        self._send_rest(request, query, parameters, url)
        found["request"] = request
        if auth is not None:
            found["auth"] = auth
        self._beside(source, name, found)
        return found

    def _beside(self, source: Source, name: str, found: dict[str, Any]) -> None:
        """Time-out, retries and what is kept of an answer: they may stand beside or inside of the request."""
        timeout = source.whole("timeout_ms", low=1, high=300_000)
        if timeout is None and source.has("timeout", "timeout_seconds", "timeout_s"):
            value = source.value.get("timeout")
            scale = 1.0 if isinstance(value, int | float) and value > 300 else 1000.0
            timeout = source.whole(
                "timeout", "timeout_seconds", "timeout_s", low=1, high=300_000, scale=scale
            )
        if timeout is not None:
            found["timeout_ms"] = timeout
        retries = source.object("retry", "retry_policy", "retry_config")
        holder = retries or source
        attempts = holder.whole("attempts", "max_attempts", low=1, high=10)
        again = holder.whole("retries", "max_retries", "retry_count", "retry_times", "retry", low=0, high=9)
        if attempts is not None or again is not None:
            found["retry"] = {"attempts": attempts if attempts is not None else (again or 0) + 1}
        if retries is not None:
            retries.close()
        select = source.text(
            "response_path", "result_path", "data_path", "response_field", "result_field", "jmespath"
        )
        if select:
            path = select.removeprefix("$.").removeprefix("$")
            if path:
                found["response"] = {"select": path}
        if found.get("auth") is None and (auth := self._auth(source, name)) is not None:
            found["auth"] = auth

    def _scope(self, parameters: Parameters) -> Scope:
        roots = {name: f"vars.{name}" for name in self.variables}
        roots |= {key: f"context.{value}" for key, value in self._context.items()}
        roots |= {"context": "context", "vars": "vars", "arguments": "arguments", "args": "arguments"}
        roots |= {
            "params": "arguments",
            "parameters": "arguments",
            "input": "arguments",
            "inputs": "arguments",
        }
        for name in parameters.properties:
            given = argument(name)
            roots[name] = given if name in parameters.required else f"({given} | default(none))"
        return Scope(roots)

    def _url(
        self, written: str, path: Path, parameters: Parameters, name: str
    ) -> tuple[str, dict[str, Any], dict[str, Any] | None]:
        """The URL, what stood in its query, and the credentials that stood in it."""
        if not re.match(r"[a-z]+://|\$|\{", written, re.IGNORECASE):
            written = self._base(path) + "/" + written.lstrip("/")
        written = _VARIABLE.sub(lambda found: self._variable(found, path), written)
        written, auth = self._userinfo(written, path, name)
        base, _, query_text = written.partition("?")
        query: dict[str, Any] = {}
        scope = self._scope(parameters)
        for key, value in parse_qsl(query_text.partition("#")[0], keep_blank_values=True, max_num_fields=200):
            if is_secret_name(key) and "{" not in value:
                auth = self._api_key(key, value, (path), name, "query")
            else:
                query[key] = self._texts.value(value, path, scope)

        def placeholder(found: re.Match[str]) -> str:
            inner = next(group for group in found.groups() if group is not None)
            if inner.startswith("vars."):
                return f"{{{{ {inner} }}}}"
            if inner in parameters.properties or scope.resolve(inner) is None:
                if inner not in parameters.properties and found[4] is not None:
                    return found[0]
                parameters.properties.setdefault(inner, {"type": "string"})
                parameters.required.append(inner)
                return f"{{{{ {argument(inner)} }}}}"
            return f"{{{{ {scope.resolve(inner)} }}}}"

        return _PLACEHOLDER.sub(placeholder, base), query, auth

    def _base(self, path: Path) -> str:
        if "base_url" not in self.variables:
            self.variables["base_url"] = self.base_url or _UNKNOWN_HOST
            if not self.base_url:
                self._report.lost(
                    path,
                    "the host of a request",
                    "the URL is relative, and the file names no base.",
                    "Set the variable `base_url` of the workflow, or SIGNALBOX_VARIABLES.",
                )
        return "{{ vars.base_url }}"

    def _variable(self, found: re.Match[str], path: Path) -> str:
        name = (found["upper"] or found["name"]).lower()
        if name not in self.variables:
            self.variables[name] = _UNKNOWN_HOST
            self._report.lost(
                path,
                f"the value of `{found['upper'] or found['name']}`",
                "it comes from the environment.",
                f"Set the variable `{name}` of the workflow, or SIGNALBOX_VARIABLES.",
            )
        return f"{{{{ vars.{name} }}}}"

    def _userinfo(self, url: str, path: Path, name: str) -> tuple[str, dict[str, Any] | None]:
        try:
            parts = urlsplit(url)
            user, password = parts.username, parts.password
        except ValueError:
            return url, None
        if not user and not password:
            return url, None
        host = parts.netloc.rpartition("@")[2]
        secret = f"secret:{name}-password".lower().replace("_", "-")
        self._report.secret(path, secret)
        bare = urlunsplit((parts.scheme, host, parts.path, parts.query, parts.fragment))
        return bare, {"type": "basic", "username": user or "", "password": secret}

    def _headers(
        self, source: Source, scope: Scope, name: str
    ) -> tuple[dict[str, str], dict[str, Any], dict[str, Any] | None]:
        path = source.at("headers", "header", "http_headers")
        value = source.take("headers", "header", "http_headers")
        headers: dict[str, str] = {}
        auth: dict[str, Any] | None = None
        for place, key, text in _pairs(value, path, self._report):
            lowered = key.lower()
            if lowered in ("content-type", "accept", "content-length", "host") and "{" not in text:
                if "form" in text or lowered == "accept":
                    headers[key] = text
                continue
            if not is_secret_name(key) or _is_template(text, scope):
                headers[key] = self._texts.template(text, place, scope)
            elif auth is not None:
                self._report.secret(place, None)
            elif lowered == "authorization":
                auth = self._authorization(text, place, name)
            else:
                auth = self._api_key(key, text, place, name, "header")
        return headers, {}, auth

    def _query(
        self, source: Source, query: dict[str, Any], auth: dict[str, Any] | None, scope: Scope, name: str
    ) -> tuple[dict[str, Any], dict[str, Any] | None]:
        path = source.at("query", "query_params", "params", "query_parameters")
        value = source.take("query", "query_params", "params", "query_parameters")
        for place, key, text in _pairs(value, path, self._report):
            if is_secret_name(key) and not _is_template(text, scope):
                if auth is None:
                    auth = self._api_key(key, text, place, name, "query")
                else:
                    self._report.secret(place, None)
            else:
                query[key] = self._texts.value(text, place, scope)
        return query, auth

    def _authorization(self, text: str, path: Path, name: str) -> dict[str, Any]:
        scheme, _, rest = text.strip().partition(" ")
        if scheme.lower() == "basic" and rest:
            return self._basic(rest.strip(), path, name)
        if scheme.lower() == "bearer":
            secret = reference(rest, f"{name}-token")
            self._noted(rest, path, secret)
            return {"type": "bearer", "token": secret}
        return self._api_key("Authorization", text, path, name, "header")

    def _basic(self, encoded: str, path: Path, name: str) -> dict[str, Any]:
        secret = f"secret:{name}-password".lower().replace("_", "-")
        try:
            user = base64.b64decode(encoded, validate=True).decode().partition(":")[0]
        except (binascii.Error, ValueError):
            user = ""
        self._report.secret(path, secret)
        return {"type": "basic", "username": user, "password": secret}

    def _api_key(self, key: str, text: str, path: Path, name: str, location: str) -> dict[str, Any]:
        secret = reference(text, f"{name}-{key}")
        self._noted(text, path, secret)
        return {"type": "api_key", "name": key, "location": location, "key": secret}

    def _auth(self, source: Source, name: str) -> dict[str, Any] | None:
        given = source.object("auth", "authentication", "authorization", "auth_config", "credentials")
        if given is None:
            for key in ("token", "bearer_token", "access_token", "api_key", "apikey"):
                if source.has(key) and isinstance(source.value.get(key), str):
                    path, text = source.at(key), source.text(key)
                    if "key" in key:
                        return self._api_key("X-API-Key", text, path, name, "header")
                    return self._authorization(f"Bearer {text}", path, name)
            return None
        auth = self._of_kind(given, given.text("type", "auth_type", "scheme", "kind").lower(), name)
        given.close()
        return auth

    def _of_kind(self, given: Source, kind: str, name: str) -> dict[str, Any] | None:
        if kind in ("", "none", "no_auth"):
            return None
        if kind in ("basic", "http_basic"):
            path = given.at("password", "pass")
            secret = reference(given.text("password", "pass"), f"{name}-password")
            self._report.secret(path, secret)
            return {"type": "basic", "username": given.text("username", "user"), "password": secret}
        key = ("token", "value", "key", "api_key", "access_token", "secret", "credential")
        path, text = given.at(*key), given.text(*key)
        if kind in ("api_key", "apikey", "header", "query", "key"):
            header = given.text("name", "header", "header_name", "param", "in_name") or "X-API-Key"
            where = given.text("location", "in", "add_to").lower()
            return self._api_key(header, text, path, name, "query" if "query" in (where, kind) else "header")
        if kind in ("bearer", "token", "jwt"):
            return self._authorization(f"Bearer {text}", path, name)
        if kind.startswith("oauth"):
            secret = reference(given.text("client_secret", "secret"), f"{name}-client-secret")
            self._report.secret(given.at("client_secret", "secret"), secret)
            scopes = given.take("scopes", "scope")
            return {
                "type": "oauth2",
                "token_url": given.text("token_url", "access_token_url", "url"),
                "client_id": given.text("client_id"),
                "client_secret": secret,
                "scopes": scopes if isinstance(scopes, list) else str(scopes or "").split(),
            }
        self._report.lost(
            given.path, "the credentials of a request", "their kind is not known here.", "Set `auth` by hand."
        )
        return None

    def _noted(self, text: str, path: Path, secret: str) -> None:
        if is_value(text):
            self._report.secret(path, secret)
            return
        self._report.changed(
            path,
            f"a credential of the environment, now `{secret}`",
            "secrets have names here.",
            f"Give the secret `{secret.removeprefix('secret:')}` its value.",
        )

    def _without_secrets(self, value: Any, path: Path) -> Any:
        if isinstance(value, dict):
            kept = {}
            for key, item in value.items():
                if (
                    is_secret_name(key)
                    and isinstance(item, str)
                    and item
                    and not re.search(r"\{\{(?!.*\bvars\b)", item)
                ):
                    self._report.secret((*path, key), None)
                else:
                    kept[key] = self._without_secrets(item, (*path, key))
            return kept
        if isinstance(value, list):
            return [self._without_secrets(item, (*path, index)) for index, item in enumerate(value)]
        return value

    def _send_rest(
        self, request: dict[str, Any], query: dict[str, Any], parameters: Parameters, url: str
    ) -> None:
        """Send each parameter that nothing mentions yet: in the query of a read, in the body of a write."""
        used = str([url, query, request.get("headers"), request.get("body")])
        made: dict[str, Any] = {}
        for name in parameters.properties:
            expression = argument(name)
            if re.search(rf"(?<![\w.]){re.escape(expression)}(?![\w])", used):
                continue
            needed = name in parameters.required
            value = f"{{{{ {expression} }}}}" if needed else f"{{{{ {expression} | default(none) }}}}"
            place = parameters.places.get(name, "")
            if place == "header":
                request.setdefault("headers", {})[name] = value
            elif place == "query" or (
                place != "body" and (request["method"] in _IN_QUERY or "body" in request)
            ):
                query[name] = value
            else:
                made[name] = value
        if made:
            request["body"] = made
        if query:
            request["query"] = query


def writes(request: dict[str, Any] | None) -> bool:
    """Whether a request may change something, by its method."""
    return request is not None and request["method"] not in _ASKS


def _pairs(value: Any, path: Path, report: Report) -> list[tuple[Path, str, str]]:
    if isinstance(value, dict):
        return [((*path, key), key, "" if item is None else str(item)) for key, item in value.items()]
    pairs = []
    for entry in entries(value, path, report):
        name = entry.source.text("name", "key", "header")
        pairs.append((entry.path, name, entry.source.text("value", "content", "default")))
        entry.source.close()
    return [pair for pair in pairs if pair[1]]


def _is_template(text: str, scope: Scope) -> bool:
    found = _PLACEHOLDER.search(text)
    if found is None:
        return False
    inner = next(group for group in found.groups() if group is not None)
    return scope.resolve(inner) is not None
