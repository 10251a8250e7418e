"""OpenAPI documents: of one service, as committed, and of several, joined.

What FastAPI knows of a route is what it takes and what it answers when all goes well. What every route has in common
is added here: who may ask, the statuses of refusals with their body, and the request id of every answer.
"""

from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

import orjson
from fastapi import FastAPI
from fastapi.routing import APIRoute

from signalbox.contracts.problem import PROBLEM_JSON, Problem

_OWN_TO_EACH = frozenset({"/live", "/ready", "/metrics"})
_SCHEMAS = "#/components/schemas/"
_OF_FASTAPI = ("HTTPValidationError", "ValidationError")
"""Schemas of an answer that no service of ours gives."""


class ErrorBody(NamedTuple):
    """The body of a route's refusals: the media type, the name of its schema, and the schema."""

    media_type: str
    name: str
    schema: Mapping[str, Any]
    statuses: Mapping[int, tuple[int, str]] = {}
    """Where the protocol has another status for one of ours: it, and its name."""


PROBLEM = ErrorBody(PROBLEM_JSON, "Problem", Problem.model_json_schema(ref_template=f"{_SCHEMAS}{{model}}"))
"""Problem details, which all routes of ours answer that do not say otherwise as ``error_body``."""

_ANYWHERE = (400, 503, 504)
_WITH_CREDENTIAL = (401, 403, 413, 429)
_WITH_PATH = (404,)
_WITH_VALUES = (422,)
_CHANGING = (404, 409, 502)
"""A query names its session in the body: also what has no path parameter may find nothing."""

_COMES_BACK = frozenset({409, 429, 503})
"""Refusals that may say when to come back."""

_SECURITY: list[dict[str, list[str]]] = [{"bearer": []}, {"api_key": []}]
_SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key; between services, a service token.",
    },
    "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
_HEADERS = {
    "X-Request-Id": {
        "description": "Names the request in the logs; taken from the request, if it has one.",
        "schema": {"type": "string"},
    }
}


def describe_common(document: dict[str, Any], routes: Iterable[Any]) -> None:
    """Add to FastAPI's ``document`` of an app what all ``routes`` of ours have in common."""
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    responses: dict[str, Any] = {}
    for route in routes:
        if isinstance(route, APIRoute) and route.include_in_schema:
            body: ErrorBody = getattr(route, "error_body", PROBLEM)
            for method in route.methods or ():
                operation = document["paths"][route.path_format][method.lower()]
                _describe(operation, method, body, responses)
            schemas |= _schemas_of(body)
    for name in _OF_FASTAPI:
        schemas.pop(name, None)
    components["responses"] = responses
    components["securitySchemes"] = _SCHEMES


def _describe(operation: dict[str, Any], method: str, body: ErrorBody, responses: dict[str, Any]) -> None:
    public = operation.get("x-public") is True
    operation["security"] = [] if public else _SECURITY
    answers = operation["responses"]
    answers.pop("422", None)
    for status in sorted({*_refusals(operation, method, public=public), *_said(answers)}):
        shown, phrase = body.statuses.get(status, (status, HTTPStatus(status).phrase))
        name = f"{body.name}{shown}"
        responses[name] = _refusal(phrase, body, comes_back=status in _COMES_BACK)
        answers[str(shown)] = {"$ref": f"#/components/responses/{name}"}
    for answer in answers.values():
        if "$ref" not in answer:
            answer["headers"] = {**_HEADERS, **answer.get("headers", {})}


def _refusals(operation: dict[str, Any], method: str, *, public: bool) -> Iterator[int]:
    """The statuses with which an operation may refuse, by what it takes."""
    yield from _ANYWHERE
    places = {parameter["in"] for parameter in operation.get("parameters", [])}
    if not public:
        yield from _WITH_CREDENTIAL
    if "path" in places:
        yield from _WITH_PATH
    if places or "requestBody" in operation:
        yield from _WITH_VALUES
    if method != "GET":
        yield from _CHANGING


def _said(answers: Mapping[str, Any]) -> Iterator[int]:
    """The statuses of refusals that a route declares beyond those."""
    return (int(status) for status in answers if status.isdecimal() and int(status) >= HTTPStatus.BAD_REQUEST)


def _refusal(phrase: str, body: ErrorBody, *, comes_back: bool) -> dict[str, Any]:
    headers: dict[str, Any] = dict(_HEADERS)
    if comes_back:
        headers["Retry-After"] = {
            "description": "Seconds, where it is known when to come back.",
            "schema": {"type": "string"},
        }
    return {
        "description": phrase,
        "headers": headers,
        "content": {body.media_type: {"schema": {"$ref": f"{_SCHEMAS}{body.name}"}}},
    }


def _schemas_of(body: ErrorBody) -> dict[str, Any]:
    schema = dict(body.schema)
    inner = schema.pop("$defs", {})
    return {**inner, body.name: schema}


def render_openapi(app: FastAPI) -> str:
    """The document as text that is the same on every machine, so that a difference is a change."""
    text = orjson.dumps(app.openapi(), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode()
    return text + "\n"


def join_openapi(title: str, apps: Iterable[FastAPI]) -> dict[str, Any]:
    """One document for services that share a process: their public paths, health once."""
    paths: dict[str, Any] = {}
    components: dict[str, dict[str, Any]] = {"schemas": {}, "responses": {}, "securitySchemes": {}}
    for app in apps:
        document = app.openapi()
        paths |= {
            path: operations
            for path, operations in document["paths"].items()
            if not path.startswith("/internal/") and path not in _OWN_TO_EACH
        }
        for kind, named in components.items():
            named.update(document.get("components", {}).get(kind, {}))
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": "1"},
        "paths": paths,
        "components": components,
    }
