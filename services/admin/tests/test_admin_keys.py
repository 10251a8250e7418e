"""API keys over HTTP and beside the database."""

import hashlib

import httpx
import pytest
from support.admin_app import API, FakeBuilder

from signalbox.admin.app import create_app
from signalbox.admin.errors import KeyNotGrantable
from signalbox.admin.offline import create_key_offline
from signalbox.admin.tables import AUDIT, KEYS
from signalbox.common.ids import now_ms
from signalbox.common.platform import Platform
from signalbox.common.transport import lifespans
from signalbox.contracts.admin import CreateKeyRequest
from signalbox.contracts.identity import Scope


async def test_a_key_is_shown_once_and_only_its_hash_is_kept(admin):
    created = await admin.http.post(f"{API}/keys", json={"name": "shop", "scopes": ["query", "llm"]})
    assert created.status_code == 201
    made = created.json()
    assert made["scopes"] == ["llm", "query"]
    prefix, key_id, secret = made["key"].split("_")
    assert (prefix, key_id) == ("sbx", made["key_id"])
    [row] = await admin.rows(KEYS)
    assert row["secret_sha256"] == hashlib.sha256(secret.encode()).hexdigest()
    listed = await admin.http.get(f"{API}/keys")
    assert secret not in listed.text
    assert row["secret_sha256"] not in listed.text
    [item] = listed.json()["items"]
    assert (item["name"], item["created_by"], item["revoked_at"]) == ("shop", "local", None)
    assert secret not in str(await admin.rows(AUDIT))


async def test_a_key_works_at_once_and_for_its_scopes_alone(admin):
    made = (await admin.http.post(f"{API}/keys", json={"name": "r", "scopes": ["config:read"]})).json()
    headers = {"x-api-key": made["key"]}
    assert (await admin.http.get(f"{API}/workflows", headers=headers)).status_code == 200
    assert (await admin.http.get(f"{API}/keys", headers=headers)).status_code == 403
    wrong = {"x-api-key": made["key"][:-1] + ("0" if made["key"][-1] != "0" else "1")}
    assert (await admin.http.get(f"{API}/workflows", headers=wrong)).status_code == 401


@pytest.mark.parametrize(
    ("body", "status", "code", "pointer"),
    [
        ({"name": "x", "scopes": ["query", "service"]}, 422, "key_not_grantable", "/scopes/1"),
        ({"name": "x", "scopes": ["query", "llm"]}, 403, "grant_exceeded", "/scopes"),
        ({"name": "x", "workflows": ["other"]}, 403, "grant_exceeded", "/workflows"),
        ({"name": "x", "models": ["large"]}, 403, "grant_exceeded", "/models"),
        ({"name": "x", "models": []}, 422, "validation_failed", "/models"),
        ({"name": "x", "default_max_output": 0}, 422, "validation_failed", "/default_max_output"),
        ({"name": "x", "expires_at": 1}, 422, "key_not_grantable", "/expires_at"),
        ({"name": "x", "scopes": []}, 422, "validation_failed", "/scopes"),
        ({"name": "x", "scopes": ["everything"]}, 422, "validation_failed", "/scopes/0"),
        ({"name": ""}, 422, "validation_failed", "/name"),
        ({"name": "x", "tenant": "other"}, 422, "validation_failed", "/tenant"),
    ],
)
async def test_no_key_gets_more_than_its_creator_has(admin, body, status, code, pointer):
    creator = admin.key("default", Scope.KEYS_WRITE, Scope.QUERY, workflows=["shop"], models=["small"])
    response = await admin.http.post(f"{API}/keys", json=body, headers=creator)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert [error["pointer"] for error in response.json()["errors"]] == [pointer]
    assert await admin.rows(KEYS) == []


async def test_a_key_inherits_the_workflows_and_models_of_its_creator(admin):
    creator = admin.key(
        "default",
        Scope.KEYS_WRITE,
        Scope.QUERY,
        workflows=["shop"],
        models=["small"],
        default_max_output=9,
    )
    await admin.http.post(f"{API}/keys", json={"name": "x"}, headers=creator)
    [item] = (await admin.http.get(f"{API}/keys")).json()["items"]
    assert item["workflows"] == ["shop"]
    assert (item["models"], item["default_max_output"], item["priority"]) == (["small"], 9, 0)


async def test_what_a_key_may_call_is_changed_and_told_to_followers(admin):
    body = {"name": "x", "scopes": ["llm"], "models": ["b", "a"], "default_max_output": 5, "priority": 3}
    made = (await admin.http.post(f"{API}/keys", json=body)).json()
    place = f"{API}/keys/{made['key_id']}"
    ring = admin.app.state.authenticator.keys
    assert ring.verify(made["key"]).models == frozenset({"a", "b"})
    changed = (await admin.http.patch(place, json={"models": ["c"], "priority": None})).json()
    assert (changed["models"], changed["default_max_output"], changed["priority"]) == (["c"], 5, 0)
    assert (await admin.http.get(f"{API}/keys")).json()["items"] == [changed]
    told = ring.verify(made["key"])
    assert (told.models, told.default_max_output, told.priority) == (frozenset({"c"}), 5, 0)
    assert [row["action"] for row in await admin.rows(AUDIT)] == ["key.create", "key.change"]


async def test_a_key_is_changed_within_the_own_tenant_and_grant_and_while_it_lives(admin):
    made = (await admin.http.post(f"{API}/keys", json={"name": "x"})).json()
    place = f"{API}/keys/{made['key_id']}"
    theirs = admin.key("other", Scope.KEYS_WRITE)
    assert (await admin.http.patch(place, json={}, headers=theirs)).status_code == 404
    narrow = admin.key("default", Scope.KEYS_WRITE, models=["small"])
    refused = await admin.http.patch(place, json={"models": ["large"]}, headers=narrow)
    assert (refused.status_code, refused.json()["code"]) == (403, "grant_exceeded")
    await admin.http.delete(place)
    assert (await admin.http.patch(place, json={"priority": 1})).status_code == 404


async def test_an_expired_key_does_not_work(admin):
    expiry = now_ms() + 60_000
    body = {"name": "x", "scopes": ["config:read"], "expires_at": expiry}
    made = (await admin.http.post(f"{API}/keys", json=body)).json()
    ring = admin.app.state.authenticator.keys
    ring.replace([record.model_copy(update={"expires_at": now_ms()}) for record in ring.records])
    response = await admin.http.get(f"{API}/workflows", headers={"x-api-key": made["key"]})
    assert response.status_code == 401


async def test_revoking_is_idempotent_and_for_the_own_tenant(admin):
    made = (await admin.http.post(f"{API}/keys", json={"name": "x"})).json()
    theirs = admin.key("other", Scope.KEYS_WRITE)
    foreign = await admin.http.delete(f"{API}/keys/{made['key_id']}", headers=theirs)
    assert (foreign.status_code, foreign.json()["code"]) == (404, "key_not_found")
    assert (await admin.http.get(f"{API}/keys", headers=theirs)).json()["items"] == []
    first = (await admin.http.delete(f"{API}/keys/{made['key_id']}")).json()
    again = (await admin.http.delete(f"{API}/keys/{made['key_id']}")).json()
    assert first == again
    assert first["revoked_at"] is not None
    assert [row["action"] for row in await admin.rows(AUDIT)] == ["key.create", "key.revoke"]


async def test_keys_come_in_pages(admin):
    for number in range(3):
        await admin.http.post(f"{API}/keys", json={"name": str(number)})
    first = (await admin.http.get(f"{API}/keys", params={"limit": 2})).json()
    rest = (await admin.http.get(f"{API}/keys", params={"limit": 2, "after": first["next_after"]})).json()
    names = [item["name"] for item in first["items"] + rest["items"]]
    assert sorted(names) == ["0", "1", "2"]
    assert rest["next_after"] is None


async def test_the_first_key_is_made_beside_the_database_and_read_at_the_start(admin_settings):
    request = CreateKeyRequest(name="admin", scopes=[Scope.KEYS_WRITE])
    made = await create_key_offline(admin_settings, "acme", request)
    settings = admin_settings.model_copy(update={"auth": "keys"})
    platform = Platform.from_settings(settings)

    app = create_app(settings, platform, builder=FakeBuilder())
    async with (
        platform,
        lifespans([app]),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://admin") as http,
    ):
        assert (await http.get(f"{API}/keys")).status_code == 401
        listed = await http.get(f"{API}/keys", headers={"x-api-key": made.key})
        assert [item["created_by"] for item in listed.json()["items"]] == ["offline"]


@pytest.mark.parametrize("tenant", ["system", "1st", "", "a b"])
async def test_a_tenant_needs_a_name_of_its_own(admin_settings, tenant):
    with pytest.raises(KeyNotGrantable):
        await create_key_offline(admin_settings, tenant, CreateKeyRequest(name="x"))


async def test_the_scope_of_services_is_not_granted_offline_either(admin_settings):
    with pytest.raises(KeyNotGrantable):
        await create_key_offline(admin_settings, "acme", CreateKeyRequest(name="x", scopes=[Scope.SERVICE]))
