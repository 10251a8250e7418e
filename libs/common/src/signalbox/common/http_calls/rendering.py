"""From a request template and values to a request."""

import hashlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import orjson

from signalbox.common.http_calls.errors import CallFailed
from signalbox.common.record import record
from signalbox.common.templates import TemplateError, Templates
from signalbox.contracts.config import HttpRequest

_CONTENT_TYPES = {
    "json": "application/json",
    "form": "application/x-www-form-urlencoded",
    "text": "text/plain; charset=utf-8",
}


@record
class RenderedRequest:
    """A request before it is authorised. Header names are as the config wrote them."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes

    def fingerprint(self) -> str:
        """SHA-256 over everything that the answer may depend on, in hex."""
        headers = sorted((name.lower(), value) for name, value in self.headers.items())
        return hashlib.sha256(orjson.dumps([self.method, self.url, headers]) + self.body).hexdigest()

    def shown(self) -> dict[str, Any]:
        """The request as JSON, for a dry run; the body is parsed where it is JSON."""
        return {
            "method": self.method,
            "url": self.url,
            "headers": self.headers,
            "body": _shown_body(self.body),
        }


def render_request(template: HttpRequest, templates: Templates, values: Mapping[str, Any]) -> RenderedRequest:
    """The request that a template describes.

    Raises:
        CallFailed: ``invalid_arguments``, where a value is missing or cannot stand where it should.
    """
    try:
        url = templates.render_url(template.url, values, name="request.url")
        query = templates.render_value(template.query, values, name="request.query")
        headers = templates.render_value(template.headers, values, name="request.headers")
        body = templates.render_value(template.body, values, name="request.body")
    except TemplateError as error:
        raise CallFailed("invalid_arguments", error.detail) from error
    sent = {name: _header(name, value) for name, value in headers.items() if value is not None}
    if not any(name.lower() == "accept" for name in sent):
        sent["Accept"] = "application/json"
    if body is not None and not any(name.lower() == "content-type" for name in sent):
        sent["Content-Type"] = _CONTENT_TYPES[template.body_format]
    return RenderedRequest(
        template.method, with_query(url, query_pairs(query)), sent, _body(body, template.body_format)
    )


def query_pairs(query: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and values of a query string: none is left out, a list is repeated, other structures are JSON."""
    pairs: list[tuple[str, str]] = []
    for name, value in query.items():
        items = value if isinstance(value, list) else [value]
        pairs += [(name, _text(item)) for item in items if item is not None]
    return pairs


def with_query(url: str, pairs: list[tuple[str, str]]) -> str:
    """A URL with more parameters, before its fragment if it has one."""
    if not pairs:
        return url
    base, hash_sign, fragment = url.partition("#")
    joint = "&" if "?" in base else "?"
    return f"{base}{joint}{urlencode(pairs, quote_via=quote, safe='')}{hash_sign}{fragment}"


def _header(name: str, value: Any) -> str:
    text = _text(value)
    if any(character in text for character in "\r\n\x00"):
        raise CallFailed("invalid_arguments", f"The value of the header {name} holds a line break.")
    return text


def _body(body: Any, form: str) -> bytes:
    if body is None:
        return b""
    if form == "form":
        pairs = query_pairs(body) if isinstance(body, Mapping) else []
        return urlencode(pairs, quote_via=quote, safe="").encode()
    if form == "text":
        return _text(body).encode()
    return orjson.dumps(body, default=str)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return orjson.dumps(value, default=str).decode()


def _shown_body(body: bytes) -> Any:
    if not body:
        return None
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return body.decode("utf-8", "replace")
