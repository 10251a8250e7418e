"""The change feed, as the services' own client follows it."""

import asyncio
import time

import pytest
from support.admin_app import API, Follower, document, following, until

from signalbox.admin.changes import Changes
from signalbox.admin.records import State
from signalbox.common.clients import ServiceCallFailed
from signalbox.common.errors import SignalboxError
from signalbox.common.storage import DuplicateKey
from signalbox.contracts.admin import ChangesRequest, ReleasePointer, SnapshotRef
from signalbox.contracts.identity import Principal, Scope


def request(instance="i", after=-1, wait_ms=0, service="flows", loaded=()):
    return ChangesRequest(
        service=service, instance=instance, after=after, wait_ms=wait_ms, loaded=list(loaded)
    )


async def test_when_publishing_returns_every_replica_serves_the_release(admin, tmp_path):
    followers = [
        Follower(admin.platform, tmp_path / str(number), service)
        for number, service in enumerate(["workflow", "flows", "flows"])
    ]
    async with following(*followers):
        reply = await admin.publish(document())
        assert [follower.runs() for follower in followers] == [1, 1, 1]
        ref = SnapshotRef(tenant="default", config_hash=reply["snapshot"]["config_hash"])
        assert all(ref in follower.snapshots.loaded for follower in followers)
        started = time.monotonic()
        await admin.publish(document(greeting="Hi"))
        assert [follower.runs() for follower in followers] == [2, 2, 2]
        assert time.monotonic() - started < 2


async def test_the_first_workflow_answers_queries_that_name_none(admin, tmp_path):
    follower = Follower(admin.platform, tmp_path / "f")
    async with following(follower):
        await admin.publish(document("one"))
        await admin.publish(document("two"))
        assert follower.feed.release("default", None).workflow_id == "one"
        await admin.http.post(f"{API}/workflows/two/default")
        assert follower.feed.release("default", None).workflow_id == "two"


async def test_a_replica_that_cannot_load_it_keeps_a_release_from_becoming_active(
    admin, tmp_path, admin_settings
):
    def refuse_hello(document):
        if "Hello" in document.document:
            raise SignalboxError("cannot be compiled here")
        return document.document

    good, bad = (
        Follower(admin.platform, tmp_path / "g"),
        Follower(admin.platform, tmp_path / "b", "tools", refuse_hello),
    )
    admin.app.state.publisher._releasing._ready_timeout_s = 0.5
    async with following(good, bad):
        await admin.publish(document())
        polls = 0
        followed = admin.app.state.following.poll

        async def counted(body, gone):
            nonlocal polls
            polls += 1
            return await followed(body, gone)

        admin.app.state.following.poll = counted
        refused = await admin.http.post(f"{API}/publish", json={"document": document(greeting="Hello")})
        assert (refused.status_code, refused.json()["code"]) == (503, "replicas_not_ready")
        assert "tools (tools-" in refused.json()["detail"]
        assert "flows" not in refused.json()["detail"]
        assert (good.runs(), bad.runs()) == (1, 1)
        # The failing replica has not been asking again and again.
        assert polls <= 8
        listed = (await admin.http.get(f"{API}/snapshots")).json()["items"]
        assert [item["state"] for item in listed] == ["built", "ready"]


async def test_a_replica_that_stops_is_forgotten_at_once(admin, tmp_path):
    follower = Follower(admin.platform, tmp_path / "f")
    async with following(follower):
        await admin.publish(document())
    started = time.monotonic()
    await admin.publish(document(greeting="Hi"))
    assert time.monotonic() - started < 0.25  # the lease alone would hold it for over 3 s


async def test_a_replica_that_falls_silent_is_dropped_when_its_lease_ends(admin):
    # Polls once, as a process that is then cut off from the network.
    await admin.client.changes(request("silent", after=-1, wait_ms=100))
    started = time.monotonic()
    await admin.publish(document())
    assert 0.2 < time.monotonic() - started < 3


async def test_a_poll_waits_until_there_is_something(admin):
    first = await admin.client.changes(request())
    assert first.releases == []
    waiting = asyncio.create_task(
        admin.client.changes(request(after=first.revision, wait_ms=10_000, service="workflow"))
    )
    await until(lambda: _polls(admin, "i"))
    await admin.http.post(f"{API}/keys", json={"name": "k"})
    reply = await asyncio.wait_for(waiting, 2)
    assert reply.revision > first.revision
    assert [key.name for key in reply.keys] == ["k"]


async def test_a_poll_ends_when_its_time_is_up(admin):
    first = await admin.client.changes(request())
    again = await admin.client.changes(request(after=first.revision, wait_ms=50))
    assert again == first


async def test_only_the_services_that_verify_keys_get_them(admin):
    await admin.http.post(f"{API}/keys", json={"name": "k"})
    for service, number in (("workflow", 1), ("llm_gateway", 1), ("flows", 0), ("skills", 0), ("tools", 1)):
        reply = await admin.client.changes(request(service=service))
        assert len(reply.keys) == number


async def test_a_revoked_key_stops_working_everywhere_when_revoking_returns(admin, tmp_path):
    gateway = Follower(admin.platform, tmp_path / "g", "llm_gateway")
    async with following(gateway):
        made = (await admin.http.post(f"{API}/keys", json={"name": "k", "scopes": ["config:read"]})).json()
        headers = {"authorization": f"Bearer {made['key']}"}
        assert gateway.keys.verify(made["key"]).tenant == "default"
        assert (await admin.http.get(f"{API}/workflows", headers=headers)).status_code == 200
        await admin.http.delete(f"{API}/keys/{made['key_id']}")
        with pytest.raises(SignalboxError):
            gateway.keys.verify(made["key"])
        assert (await admin.http.get(f"{API}/workflows", headers=headers)).status_code == 401


async def test_the_feed_is_for_services_alone(admin):
    body = request().model_dump(mode="json")
    changes = "/internal/v1/admin/changes"
    assert (await admin.http.post(changes, json=body)).status_code == 403
    everything = admin.key("default", *(set(Scope) - {Scope.SERVICE}))
    assert (await admin.http.post(changes, json=body, headers=everything)).status_code == 403
    on_behalf = admin.token(Principal(tenant="default", subject="key:1"))
    assert (await admin.http.post(changes, json=body, headers=on_behalf)).status_code == 403
    assert (await admin.http.post(changes, json=body, headers=admin.token())).status_code == 200


async def test_a_service_that_acts_for_a_tenant_gets_that_tenants_snapshots_only(admin):
    name = (await admin.publish(document()))["snapshot"]["config_hash"]
    path = f"/internal/v1/admin/snapshots/default/{name}"
    own = admin.token(Principal(tenant="default", subject="key:1"))
    other = admin.token(Principal(tenant="other", subject="key:2"))
    assert (await admin.http.get(path, headers=own)).status_code == 200
    assert (await admin.http.get(path, headers=other)).status_code == 404
    with pytest.raises(ServiceCallFailed):
        await admin.client.snapshot(SnapshotRef(tenant="other", config_hash=name))


async def test_a_follower_that_keeps_what_it_was_told_is_told_what_changed_and_an_older_one_everything(
    admin, tmp_path
):
    follower = Follower(admin.platform, tmp_path / "f")
    async with following(follower):
        for name in ("one", "two", "three"):
            await admin.publish(document(name))
        await admin.http.post(f"{API}/keys", json={"name": "k"})
        known = (await admin.client.changes(request(service="workflow"))).revision
        await admin.publish(document("two", greeting="Hi"))
        polled = request(service="workflow", after=known)
        everything = await admin.client.changes(polled)
        told = await admin.client.changes(polled.model_copy(update={"partial": True}))
        assert (everything.partial, len(everything.releases), len(everything.keys)) == (False, 3, 1)
        assert [(pointer.workflow_id, pointer.number) for pointer in told.releases] == [("two", 2)]
        assert (told.partial, told.same_keys, told.keys) == (True, True, [])
        assert [follower.runs(workflow_id=name) for name in ("one", "two", "three")] == [1, 2, 1]
        # One that was told of what this database never held is told everything.
        ahead = request(after=told.revision + 5).model_copy(update={"partial": True})
        assert len((await admin.client.changes(ahead)).releases) == 3


async def test_what_a_publish_costs_the_feed_does_not_grow_with_the_number_of_workflows(
    admin, tmp_path, monkeypatch
):
    sent: list[int] = []
    followed = admin.app.state.following.poll

    async def counted(body, gone):
        reply = await followed(body, gone)
        sent.append(len(body.model_dump_json()) + len(reply.model_dump_json()))
        return reply

    monkeypatch.setattr(admin.app.state.following, "poll", counted)
    follower = Follower(admin.platform, tmp_path / "f")

    async def bytes_of_a_publish(greeting):
        sent.clear()
        await admin.publish(document("w0", greeting=greeting))
        return max(sent)

    async with following(follower):
        await admin.publish(document("w0"))
        alone = await bytes_of_a_publish("Hello")
        for number in range(1, 40):
            await admin.publish(document(f"w{number}"))
        assert await bytes_of_a_publish("Hi again") < 1.5 * alone


def pointer(name, number):
    return ReleasePointer(
        tenant="t", environment="e", workflow_id=name, number=number, config_hash=str(number) * 64
    )


def test_a_change_that_was_read_before_its_number_is_told_to_those_that_know_that_number_only():
    changes = Changes()
    one, two, later = pointer("one", 1), pointer("two", 1), pointer("two", 2)
    changes.note(State(5, (one, two)), 5)
    assert not changes.covers(4)
    # Another replica of Admin committed revision 7 while this one read revision 6.
    changes.note(State(6, (one, later)), 7)
    assert list(changes.releases(6)) == [later]
    assert list(changes.releases(7)) == []
    changes.note(State(8, (one,)), 8)
    assert not changes.covers(7)


async def test_a_failed_flip_takes_the_preparation_back(admin, monkeypatch):
    store = admin.app.state.publisher._config

    async def taken(*arguments):
        raise DuplicateKey("admin_release_pointers")

    monkeypatch.setattr(store, "activate", taken)
    response = await admin.http.post(f"{API}/publish", json={"document": document()})
    assert (response.status_code, response.json()["code"]) == (409, "release_contended")
    assert (await admin.client.changes(request())).prepare == []


async def _polls(admin, instance):
    return any(
        replica.instance == instance and replica.revision >= 0
        for replica in await admin.app.state.following._replicas.live(0)
    )
