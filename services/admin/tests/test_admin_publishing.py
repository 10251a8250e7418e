"""Publishing over HTTP: what is stored, built, activated, refused."""

import asyncio
import hashlib

import httpx
import orjson
import pytest
from support.admin_app import API, document

from signalbox.admin.app import create_app, publisher_of
from signalbox.admin.settings import AdminSettings
from signalbox.admin.tables import AUDIT, POINTERS, PREPARATIONS, RELEASES, SNAPSHOTS, WORKFLOWS
from signalbox.common.auth import LOCAL_PRINCIPAL
from signalbox.common.transport import HopUnreachable, lifespans
from signalbox.contracts.admin import Artefact, BuildReply, PublishRequest, SnapshotRef
from signalbox.contracts.identity import Scope
from signalbox.contracts.problem import ProblemError


async def test_publishing_stores_builds_and_activates(admin):
    admin.builder.reply = BuildReply(
        artefacts=[
            Artefact(
                name="rules",
                builder="re2/1",
                platform="any",
                media_type="x/y",
                sha256="0" * 64,
                data_base64="AA==",
            )
        ],
        warnings=[ProblemError(pointer="/intents/0", code="few_examples", detail="Add some.")],
    )
    reply = await admin.publish(document(), message="first")

    canonical = orjson.dumps(document(), option=orjson.OPT_SORT_KEYS)
    name = hashlib.sha256(canonical).hexdigest()
    assert reply["snapshot"]["config_hash"] == name
    assert reply["snapshot"]["state"] == "ready"
    assert reply["snapshot"]["size"] == len(canonical)
    assert [warning["code"] for warning in reply["snapshot"]["warnings"]][-1:] == ["few_examples"]
    assert reply["changed"] is True
    assert reply["release"]["number"] == 1
    assert reply["release"]["active"] is True
    assert reply["release"]["message"] == "first"
    assert reply["release"]["created_by"] == "local"
    [request] = admin.builder.requests
    assert request.document.encode() == canonical

    served = await admin.client.snapshot(SnapshotRef(tenant="default", config_hash=name))
    assert served.document.encode() == canonical
    assert [artefact.name for artefact in served.artefacts] == ["rules"]
    assert [row["action"] for row in await admin.rows(AUDIT)] == [
        "snapshot.store",
        "snapshot.build",
        "release.activate",
    ]
    assert await admin.rows(PREPARATIONS) == []


async def test_publishing_the_same_document_again_changes_nothing(admin):
    first = await admin.publish(document())
    # Another order of keys is the same document.
    again = await admin.publish(dict(reversed(document().items())))
    assert again["changed"] is False
    assert again["release"] == first["release"]
    assert len(admin.builder.requests) == 1
    assert len(await admin.rows(RELEASES)) == 1
    assert len(await admin.rows(AUDIT)) == 3


async def test_what_was_found_right_and_built_is_not_checked_again(admin, monkeypatch):
    publisher, checked = publisher_of(admin.app), []
    check = publisher._check
    monkeypatch.setattr(publisher, "_check", lambda given: checked.append(given) or check(given))
    await admin.publish(document())
    await admin.publish(document())
    assert checked == [document()]
    await admin.publish(document(greeting="Hello"))
    assert checked == [document(), document(greeting="Hello")]


async def test_each_change_is_a_release_and_a_rollback_is_one_too(admin):
    first = await admin.publish(document(), message="one")
    second = await admin.publish(document(greeting="Hello"), message="two")
    assert second["release"]["number"] == 2
    back = await admin.http.post(
        f"{API}/workflows/shop/activate",
        json={"config_hash": first["snapshot"]["config_hash"], "message": "back"},
    )
    assert back.status_code == 200, back.text
    assert back.json()["release"]["number"] == 3
    assert len(admin.builder.requests) == 2

    listed = (await admin.http.get(f"{API}/releases", params={"workflow_id": "shop"})).json()
    assert [(item["number"], item["message"], item["active"]) for item in listed["items"]] == [
        (3, "back", True),
        (2, "two", False),
        (1, "one", False),
    ]
    # Publishing what is active after the rollback makes no release either.
    assert (await admin.publish(document()))["release"]["number"] == 3


async def test_an_invalid_document_is_refused_with_all_errors_and_leaves_nothing(admin):
    broken = document(langages=["en"], greeting="{{ oops")
    broken["intents"].append({**broken["intents"][0]})
    broken["intents"].append(
        {"id": "x", "description": "x", "when": {"patterns": ["("]}, "then": {"flow": "nope"}}
    )
    response = await admin.http.post(f"{API}/publish", json={"document": broken})
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["code"] == "invalid_document"
    found = {(error["pointer"], error["code"]) for error in problem["errors"]}
    assert ("/langages", "unknown_field") in found
    assert ("/greeting", "bad_template") in found
    assert ("/intents/2/then/flow", "unknown_reference") in found
    assert {"duplicate_id", "bad_pattern"} <= {code for _, code in found}
    for table in (SNAPSHOTS, RELEASES, POINTERS, WORKFLOWS, AUDIT):
        assert await admin.rows(table) == []
    assert admin.builder.requests == []


async def test_validate_names_errors_or_the_hash_and_stores_nothing(admin):
    good = (await admin.http.post(f"{API}/validate", json={"document": document()})).json()
    assert good["valid"] is True
    assert len(good["config_hash"]) == 64
    bad = (await admin.http.post(f"{API}/validate", json={"document": {"name": "x"}})).json()
    assert bad["valid"] is False
    assert bad["config_hash"] is None
    assert ("/workflow_id", "missing_field") in {(error["pointer"], error["code"]) for error in bad["errors"]}
    assert await admin.rows(SNAPSHOTS) == []


async def test_what_json_cannot_say_or_nests_too_deep_is_a_problem_with_a_code(admin):
    deep = '{"document": {"workflow_id": ' + "[" * 500 + "]" * 500 + "}}"
    for body, status in (
        ('{"document": {"workflow_id": "x", "name": NaN}}', 422),
        (deep, 422),
        ('{"document": {"workflow_id": "x", ', 400),
        ('{"document": [1]}', 422),
        ('{"document": {}, "documnt": {}}', 422),
    ):
        response = await admin.http.post(
            f"{API}/publish", content=body, headers={"content-type": "application/json"}
        )
        assert (response.status_code, response.headers["content-type"]) == (
            status,
            "application/problem+json",
        )
        assert response.json()["code"]
    assert await admin.rows(SNAPSHOTS) == []


async def test_a_document_may_have_4_mb_and_not_more(admin):
    large = document(description="x" * (4 * 1024 * 1024 - 2000))
    assert (await admin.publish(large))["snapshot"]["size"] > 4_000_000
    larger = await admin.http.post(f"{API}/publish", json={"document": document(description="x" * 4_194_304)})
    assert (larger.status_code, larger.json()["code"]) == (413, "document_too_large")
    huge = await admin.http.post(f"{API}/publish", json={"document": document(description="x" * 4_300_000)})
    assert (huge.status_code, huge.json()["code"]) == (413, "payload_too_large")


async def test_while_the_workflow_service_is_down_the_snapshot_is_stored_and_publishing_goes_on_later(admin):
    admin.builder.failure = HopUnreachable("workflow", "The workflow service does not answer.")
    response = await admin.http.post(f"{API}/publish", json={"document": document()})
    assert response.status_code == 503
    assert response.json()["code"] == "builder_unavailable"
    assert "does not answer" in response.json()["detail"]
    [row] = await admin.rows(SNAPSHOTS)
    assert row["state"] == "stored"
    # Nobody may fetch it yet: it would be kept without its artefacts.
    unserved = await admin.http.get(
        f"/internal/v1/admin/snapshots/default/{row['config_hash']}", headers=admin.token()
    )
    assert unserved.status_code == 404

    admin.builder.failure = None
    reply = await admin.publish(document())
    assert reply["release"]["number"] == 1
    assert [snapshot["state"] for snapshot in await admin.rows(SNAPSHOTS)] == ["ready"]


async def test_a_snapshot_that_cannot_be_built_is_not_kept(admin):
    admin.builder.reply = BuildReply(errors=[ProblemError(pointer="/intents/0", code="no", detail="No.")])
    response = await admin.http.post(f"{API}/publish", json={"document": document()})
    assert (response.status_code, response.json()["code"]) == (422, "build_failed")
    assert response.json()["errors"][0]["pointer"] == "/intents/0"
    assert await admin.rows(SNAPSHOTS) == []
    assert [row["action"] for row in await admin.rows(AUDIT)] == ["snapshot.store", "snapshot.discard"]


async def test_without_activation_the_snapshot_waits_to_be_activated(admin):
    reply = await admin.publish(document(), activate=False)
    assert reply["release"] is None
    assert reply["snapshot"]["state"] == "built"
    workflows = (await admin.http.get(f"{API}/workflows")).json()["items"]
    assert [(item["workflow_id"], item["active"], item["is_default"]) for item in workflows] == [
        ("shop", [], False)
    ]
    activated = await admin.http.post(
        f"{API}/workflows/shop/activate", json={"config_hash": reply["snapshot"]["config_hash"]}
    )
    assert activated.json()["release"]["number"] == 1
    [workflow] = (await admin.http.get(f"{API}/workflows")).json()["items"]
    assert workflow["is_default"] is True
    assert workflow["active"] == [
        {"environment": "default", "number": 1, "config_hash": reply["snapshot"]["config_hash"]}
    ]


async def test_a_snapshot_of_another_workflow_cannot_be_activated(admin):
    other = (await admin.publish(document("other")))["snapshot"]["config_hash"]
    response = await admin.http.post(f"{API}/workflows/shop/activate", json={"config_hash": other})
    assert (response.status_code, response.json()["code"]) == (404, "snapshot_not_found")


async def test_environments_have_releases_of_their_own(admin):
    await admin.publish(document())
    staged = await admin.publish(document(greeting="Hi"), environment="staging")
    assert staged["release"]["number"] == 1
    listed = (await admin.http.get(f"{API}/releases")).json()["items"]
    assert {(item["environment"], item["active"]) for item in listed} == {
        ("default", True),
        ("staging", True),
    }


async def test_the_first_workflow_is_the_default_until_another_is_chosen(admin):
    await admin.publish(document("first"))
    await admin.publish(document("second"))
    chosen = await admin.http.post(f"{API}/workflows/second/default")
    assert chosen.json()["is_default"] is True
    listed = (await admin.http.get(f"{API}/workflows")).json()["items"]
    assert {item["workflow_id"]: item["is_default"] for item in listed} == {"first": False, "second": True}
    unknown = await admin.http.post(f"{API}/workflows/third/default")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "workflow_not_found")


async def test_publishing_at_the_same_time_gives_each_its_number(admin):
    greetings = [f"Hello {number}" for number in range(8)]
    replies = await asyncio.gather(*(admin.publish(document(greeting=text)) for text in greetings))
    assert sorted(reply["release"]["number"] for reply in replies) == list(range(1, 9))
    listed = (await admin.http.get(f"{API}/releases")).json()["items"]
    assert [item["number"] for item in listed if item["active"]] == [8]
    assert await admin.rows(PREPARATIONS) == []


async def test_lists_come_in_pages_without_gaps(admin):
    for number in range(6):
        await admin.publish(document(greeting=f"Hello {number}"))
    for path, name in (("releases", "number"), ("snapshots", "config_hash")):
        seen, after, pages = [], None, 0
        while True:
            params = {"limit": 2} if after is None else {"limit": 2, "after": after}
            page = (await admin.http.get(f"{API}/{path}", params=params)).json()
            pages += 1
            seen += [item[name] for item in page["items"]]
            after = page["next_after"]
            if after is None:
                break
        everything = (await admin.http.get(f"{API}/{path}")).json()["items"]
        assert seen == [item[name] for item in everything]
        assert len(seen) == len(set(seen)) == 6
        assert pages == 3
    bad = await admin.http.get(f"{API}/releases", params={"after": "nonsense"})
    assert (bad.status_code, bad.json()["code"]) == (400, "bad_cursor")


async def test_a_snapshot_is_shown_with_its_document(admin):
    name = (await admin.publish(document()))["snapshot"]["config_hash"]
    shown = (await admin.http.get(f"{API}/snapshots/{name}")).json()
    assert shown["document"] == document()
    assert shown["state"] == "ready"
    missing = await admin.http.get(f"{API}/snapshots/{'0' * 64}")
    assert missing.status_code == 404


async def test_another_tenant_finds_nothing(admin):
    name = (await admin.publish(document()))["snapshot"]["config_hash"]
    theirs = admin.key("other", Scope.CONFIG_READ, Scope.CONFIG_WRITE)
    for path in ("workflows", "snapshots", "releases"):
        assert (await admin.http.get(f"{API}/{path}", headers=theirs)).json()["items"] == []
    assert (await admin.http.get(f"{API}/snapshots/{name}", headers=theirs)).status_code == 404
    activated = await admin.http.post(
        f"{API}/workflows/shop/activate", json={"config_hash": name}, headers=theirs
    )
    assert activated.status_code == 404
    assert (await admin.http.post(f"{API}/workflows/shop/default", headers=theirs)).status_code == 404
    # The same document is theirs too, once they publish it, with numbers of their own.
    own = await admin.http.post(f"{API}/publish", json={"document": document()}, headers=theirs)
    assert own.json()["release"]["number"] == 1
    assert len(await admin.rows(SNAPSHOTS)) == 2


async def test_scopes_are_needed(admin):
    reader = admin.key("default", Scope.CONFIG_READ)
    writer = admin.key("default", Scope.CONFIG_WRITE)
    refused = await admin.http.post(f"{API}/publish", json={"document": document()}, headers=reader)
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert (await admin.http.get(f"{API}/workflows", headers=writer)).status_code == 403
    assert (await admin.http.get(f"{API}/keys", headers=writer)).status_code == 403
    assert await admin.rows(SNAPSHOTS) == []


async def test_a_key_for_one_workflow_reaches_no_other(admin):
    other = (await admin.publish(document("other")))["snapshot"]["config_hash"]
    narrow = admin.key("default", Scope.CONFIG_READ, Scope.CONFIG_WRITE, workflows=["shop"])
    refused = await admin.http.post(f"{API}/publish", json={"document": document("other")}, headers=narrow)
    assert (refused.status_code, refused.json()["code"]) == (403, "workflow_forbidden")
    assert (await admin.http.get(f"{API}/snapshots/{other}", headers=narrow)).status_code == 404
    named = await admin.http.get(f"{API}/releases", params={"workflow_id": "other"}, headers=narrow)
    assert named.json()["items"] == []
    assert (await admin.http.get(f"{API}/workflows", headers=narrow)).json()["items"] == []
    allowed = await admin.http.post(f"{API}/publish", json={"document": document("shop")}, headers=narrow)
    assert allowed.status_code == 200


async def test_a_process_publishes_without_http(admin):
    publisher = publisher_of(admin.app)
    reply = await publisher.publish(LOCAL_PRINCIPAL, PublishRequest(document=document()))
    assert reply.release is not None
    assert reply.release.number == 1


async def test_ready_asks_the_database(admin):
    assert (await admin.http.get("/ready")).status_code == 200
    await admin.platform.database("admin").close()
    closed = await admin.http.get("/ready")
    assert closed.status_code == 503
    assert "database" in closed.json()["detail"]


async def test_not_ready_before_the_tables_are_there(tmp_path):
    app = create_app(AdminSettings(data=tmp_path, database_url=None, redis_url=None, state_poll_s=0.01))
    transport = httpx.ASGITransport(app)
    async with lifespans([app]), httpx.AsyncClient(transport=transport, base_url="http://admin") as http:
        unready = await http.get("/ready")
        assert unready.status_code == 503
        assert "signalbox migrate" in unready.json()["detail"]
        assert (await http.get("/live")).status_code == 200


@pytest.mark.parametrize("path", ["/internal/v1/admin/changes", f"{API}/publish"])
async def test_a_credential_that_is_not_ours_is_refused(admin, path):
    response = await admin.http.post(path, json={}, headers={"authorization": "Bearer sbx_00_00"})
    assert response.status_code == 401
