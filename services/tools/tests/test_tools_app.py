"""The Tools app: its routes, and who may call them."""

import httpx
import pytest
from fastapi import FastAPI

from signalbox.common.auth import PUBLIC
from signalbox.common.platform import Platform
from signalbox.contracts.identity import Principal, Scope
from signalbox.tools.app import create_app
from signalbox.tools.settings import ToolsSettings

CALLER = Principal(tenant="acme", subject="key:1", scopes=frozenset({Scope.QUERY}))


@pytest.fixture
async def app(tmp_path):
    settings = ToolsSettings(data=tmp_path)
    async with Platform.from_settings(settings) as platform:
        made = create_app(settings, platform)
        made.state.platform = platform
        yield made


async def post(app: FastAPI, tenant: str, token: str | None) -> httpx.Response:
    body = {
        "context": {
            "tenant": tenant, "subject": "key:1", "workflow_id": "shop", "config_hash": "a" * 64,
            "session_id": "s", "turn_id": "t", "now_ms": 0,
        },
        "tool": "x",
        "idempotency_key": "k",
    }  # fmt: skip
    headers = {"authorization": f"Bearer {token}"} if token else {}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://tools") as client:
        return await client.post("/internal/v1/tools/call", json=body, headers=headers)


async def test_another_tenants_token_is_refused(app):
    token = app.state.platform.tokens("workflow").mint("tools", CALLER)
    assert (await post(app, "other", token)).status_code == 403


async def test_only_services_may_call(app):
    answered = await post(app, "acme", None)
    assert (answered.status_code, answered.json()["code"]) == (403, "forbidden")


def test_every_route_needs_a_scope_or_is_public(app):
    for path, operations in app.openapi()["paths"].items():
        for operation in operations.values():
            assert operation.get("x-public") == PUBLIC["x-public"] or path.startswith(
                ("/internal/", "/mcp/")
            ), path
