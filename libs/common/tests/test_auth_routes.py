"""Credentials and scopes on routes."""

from typing import Annotated

import pytest
from fastapi import APIRouter, Depends
from support.apps import SERVICE_SECRET, caller, service_app

from signalbox.common.auth import Requires, ServiceTokens, check_context, create_key
from signalbox.common.errors import Forbidden
from signalbox.common.ids import now_ms
from signalbox.contracts.context import CallContext
from signalbox.contracts.identity import KeyRecord, Principal, Scope

router = APIRouter()


@router.get("/asks")
async def asks(principal: Annotated[Principal, Depends(Requires(Scope.QUERY))]) -> Principal:
    return principal


@router.get("/internal/v1/flows/asks")
async def internal(principal: Annotated[Principal, Depends(Requires(Scope.SERVICE))]) -> Principal:
    return principal


def app_with_key(auth="keys", scopes=(Scope.QUERY,)):
    app = service_app(router, auth=auth)
    key = create_key()
    app.state.authenticator.keys.replace(
        [
            KeyRecord(
                key_id=key.key_id,
                tenant="acme",
                name="till",
                secret_sha256=key.secret_sha256,
                scopes=frozenset(scopes),
                created_at=now_ms(),
            )
        ]
    )
    return app, key.key


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer "}, {"Authorization": "Basic YTpi"}, {"Authorization": "Bearer junk"}],
)
async def test_without_a_usable_credential_the_answer_is_401(headers):
    app, _ = app_with_key()
    async with caller(app) as http:
        answer = await http.get("/asks", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "unauthenticated"


@pytest.mark.parametrize("header", ["Authorization", "X-API-Key"])
async def test_a_key_is_taken_from_either_header(header):
    app, key = app_with_key()
    value = f"bearer {key}" if header == "Authorization" else key
    async with caller(app) as http:
        answer = await http.get("/asks", headers={header: value})
    assert answer.json()["tenant"] == "acme"


async def test_a_key_without_the_scope_gets_403_that_names_it():
    app, key = app_with_key(scopes=[Scope.CONFIG_READ])
    async with caller(app) as http:
        answer = await http.get("/asks", headers={"X-API-Key": key})
    assert answer.status_code == 403
    assert "'query'" in answer.json()["detail"]


async def test_nobody_is_the_operator_only_where_that_is_configured():
    app, _ = app_with_key(auth="local")
    async with caller(app) as http:
        local = (await http.get("/asks")).json()
        internal = await http.get("/internal/v1/flows/asks")
    assert (local["tenant"], local["subject"]) == ("default", "local")
    assert "service" not in local["scopes"]
    assert internal.status_code == 403


async def test_a_wrong_key_is_refused_also_where_none_is_needed():
    app, _ = app_with_key(auth="local")
    async with caller(app) as http:
        assert (await http.get("/asks", headers={"X-API-Key": create_key().key})).status_code == 401


async def test_internal_routes_take_service_tokens_and_no_keys():
    app, key = app_with_key(scopes=list(Scope))
    token = ServiceTokens(SERVICE_SECRET, "workflow").mint("flows")
    other = ServiceTokens(SERVICE_SECRET, "workflow").mint("tools")
    statuses = []
    async with caller(app) as http:
        for credential in (token, key, other):
            headers = {"Authorization": f"Bearer {credential}"}
            statuses.append((await http.get("/internal/v1/flows/asks", headers=headers)).status_code)
    assert statuses == [200, 403, 401]


@pytest.mark.parametrize(
    ("tenant", "workflow", "allowed"),
    [("acme", "shop", True), ("rival", "shop", False), ("acme", "hr", False)],
)
def test_a_call_says_the_same_as_its_credential(tenant, workflow, allowed):
    principal = Principal(tenant="acme", subject="key:1", workflows=frozenset({"shop"}))
    context = CallContext(
        tenant=tenant,
        subject="key:1",
        workflow_id=workflow,
        config_hash="0" * 64,
        session_id="s",
        turn_id="t",
        now_ms=0,
    )
    if allowed:
        check_context(context, principal)
        return
    with pytest.raises(Forbidden):
        check_context(context, principal)
