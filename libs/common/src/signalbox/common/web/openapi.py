"""OpenAPI documents: of one service, as committed, and of several, joined."""

from collections.abc import Iterable
from typing import Any

import orjson
from fastapi import FastAPI

_OWN_TO_EACH = frozenset({"/live", "/ready", "/metrics"})


def render_openapi(app: FastAPI) -> str:
    """The document as text that is the same on every machine, so that a difference is a change."""
    text = orjson.dumps(app.openapi(), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode()
    return text + "\n"


def join_openapi(title: str, apps: Iterable[FastAPI]) -> dict[str, Any]:
    """One document for services that share a process: their public paths, health once."""
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = {}
    for app in apps:
        document = app.openapi()
        paths |= {
            path: operations
            for path, operations in document["paths"].items()
            if not path.startswith("/internal/") and path not in _OWN_TO_EACH
        }
        schemas.update(document.get("components", {}).get("schemas", {}))
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": "1"},
        "paths": paths,
        "components": {"schemas": schemas},
    }
