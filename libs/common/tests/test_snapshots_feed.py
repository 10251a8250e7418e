"""Following Admin's change feed."""

import asyncio
import contextlib

import pytest
from support.admin_stand_in import AdminStandIn
from support.apps import SERVICE_SECRET
from support.async_waiting import DEADLINE_S, until

from signalbox.common.auth import KeyRing, ServiceTokens, create_key
from signalbox.common.clients import AdminClient
from signalbox.common.errors import Unauthenticated, Unavailable
from signalbox.common.snapshots import ConfigFeed, Snapshots, feed
from signalbox.common.snapshots.feed import NoRelease
from signalbox.common.telemetry import Tracing
from signalbox.common.transport import AsgiServiceHop
from signalbox.contracts.admin import SnapshotRef
from signalbox.contracts.identity import KeyRecord, Scope


def compile_text(document):
    if document.document == "bad":
        raise ValueError("not a config of this version")
    return document.document


@pytest.fixture
def admin(monkeypatch):
    monkeypatch.setattr(feed, "_RETRY_S", 0.01)
    return AdminStandIn()


class Follower:
    """One service that follows ``admin``, with what it keeps under ``directory``."""

    def __init__(self, admin, directory, *, environment="default", with_snapshots=True):
        hop = AsgiServiceHop(admin.app, service="admin")
        client = AdminClient(hop, ServiceTokens(SERVICE_SECRET, "workflow"), Tracing().tracer("workflow"))
        self.keys = KeyRing()
        self.snapshots = Snapshots(client, compile_text, directory / "snapshots") if with_snapshots else None
        self.feed = ConfigFeed(
            "workflow", environment, client, directory, snapshots=self.snapshots, keys=self.keys
        )

    def runs(self, tenant="acme", workflow_id="shop"):
        try:
            return self.feed.release(tenant, workflow_id).config_hash
        except NoRelease:
            return None


@pytest.fixture
async def follow(admin, tmp_path):
    async with contextlib.AsyncExitStack() as stack:

        async def start(**options):
            follower = Follower(admin, tmp_path, **options)
            await follower.feed.start()
            stack.push_async_callback(follower.feed.stop)
            return follower

        yield start


def record(key, tenant="acme"):
    return KeyRecord(
        key_id=key.key_id,
        tenant=tenant,
        name="k",
        secret_sha256=key.secret_sha256,
        scopes={Scope.QUERY},
        created_at=0,
    )


async def test_before_anything_is_published_there_is_no_release(admin, follow):
    follower = await follow()
    await until(lambda: follower.feed.revision == 1)
    await follower.feed.check()
    with pytest.raises(NoRelease, match="'shop'"):
        follower.feed.release("acme", "shop")
    with pytest.raises(NoRelease, match="signalbox publish"):
        follower.feed.release("acme", None)
    assert follower.feed.releases("acme") == []


async def test_a_release_is_applied_when_its_snapshot_is_loaded_and_not_before(admin, follow):
    follower = await follow()
    await admin.polled(1)
    admin.may_fetch.clear()
    ref = admin.store("one")
    await admin.activate(ref)
    await asyncio.wait_for(admin.fetching.wait(), DEADLINE_S)
    assert follower.runs() is None
    admin.may_fetch.set()
    await until(lambda: follower.runs() == ref.config_hash)
    assert follower.snapshots.peek("acme", ref.config_hash) == "one"
    assert follower.feed.release("acme", None).workflow_id == "shop"


async def test_tenants_and_environments_are_apart(admin, follow):
    follower = await follow()
    mine, theirs = admin.store("one"), admin.store("two", tenant="rival")
    await admin.activate(mine, theirs)
    await until(lambda: follower.runs() is not None)
    assert follower.runs("rival") == theirs.config_hash
    assert [pointer.tenant for pointer in follower.feed.releases("acme")] == ["acme"]
    with pytest.raises(NoRelease):
        follower.feed.release("third", "shop")
    staging = await follow(environment="staging")
    await until(lambda: staging.feed.revision == admin.revision)
    assert staging.feed.releases("acme") == []


async def test_a_workflow_that_is_not_the_default_has_to_be_named(admin, follow):
    follower = await follow()
    await admin.activate(admin.store("one"), default=False)
    await until(lambda: follower.runs() is not None)
    with pytest.raises(NoRelease):
        follower.feed.release("acme", None)


async def test_what_is_prepared_is_loaded_and_then_reported(admin, follow):
    follower = await follow()
    await admin.polled(2)
    ref = admin.store("next")
    admin.prepare = [ref]
    await admin.change()
    second = await admin.polled(3)
    assert second.loaded == [ref]
    assert follower.runs() is None
    assert second.after == admin.revision


async def test_a_snapshot_that_cannot_be_prepared_is_not_reported(admin, follow):
    await follow()
    await admin.polled(2)
    admin.prepare = [SnapshotRef(tenant="acme", config_hash="0" * 64), admin.store("bad"), admin.store("ok")]
    await admin.change()
    assert (await admin.polled(3)).loaded == [admin.prepare[2]]


async def test_a_service_that_loads_none_repeats_what_is_prepared(admin, follow):
    await follow(with_snapshots=False)
    await admin.polled(2)
    admin.prepare = [admin.store("next")]
    await admin.change()
    assert (await admin.polled(3)).loaded == admin.prepare
    assert admin.fetched == []


async def test_keys_are_replaced_as_a_whole(admin, follow):
    old, new = create_key(), create_key()
    admin.keys = [record(old)]
    follower = await follow()
    await until(lambda: len(follower.keys) == 1)
    assert follower.keys.verify(old.key).tenant == "acme"
    admin.keys = [record(new)]
    await admin.change()
    await until(lambda: follower.feed.revision == admin.revision)
    assert follower.keys.verify(new.key).tenant == "acme"
    with pytest.raises(Unauthenticated):
        follower.keys.verify(old.key)


async def test_a_snapshot_that_this_version_cannot_read_holds_nothing_else_up(admin, follow, caplog):
    follower = await follow()
    await admin.polled(1)
    key = create_key()
    admin.keys = [record(key)]
    bad, good = admin.store("bad", tenant="rival"), admin.store("one")
    await admin.activate(bad, good)
    await until(lambda: follower.runs() == good.config_hash)
    assert len(follower.keys) == 1
    assert "cannot compile" in caplog.text


async def test_while_admin_is_down_the_last_state_is_served_also_after_a_restart(admin, follow):
    key, ref = create_key(), admin.store("one")
    admin.keys = [record(key)]
    await admin.activate(ref)
    before = await follow()
    await until(lambda: before.runs() is not None)
    # The state is on disk when the poll after it begins.
    await admin.polled(2)
    await admin.go_down()
    assert before.runs() == ref.config_hash
    await before.feed.stop()

    after = await follow()
    await after.feed.check()
    assert after.runs() == ref.config_hash
    assert after.snapshots.peek("acme", ref.config_hash) == "one"
    assert after.keys.verify(key.key).tenant == "acme"

    admin.down = False
    newer = admin.store("two")
    await admin.activate(newer)
    await until(lambda: after.runs() == newer.config_hash)


async def test_a_restart_takes_even_a_revision_that_went_backwards(admin, follow):
    admin.revision = 50
    await admin.activate(admin.store("one"))
    before = await follow()
    await until(lambda: before.runs() is not None)
    await admin.polled(2)
    await before.feed.stop()
    admin.revision = 3
    ref = admin.store("restored")
    await admin.activate(ref)
    after = await follow()
    await until(lambda: after.runs() == ref.config_hash)


async def test_a_service_that_never_reached_admin_is_not_ready(admin, follow):
    await admin.go_down()
    follower = await follow()
    with pytest.raises(Unavailable, match="Admin"):
        await follower.feed.check()
    admin.down = False
    await until(lambda: follower.feed.revision >= 0)
    await follower.feed.check()


async def test_keys_that_were_kept_are_state_enough_to_be_ready(admin, follow):
    admin.keys = [record(create_key())]
    before = await follow()
    await until(lambda: len(before.keys) == 1)
    await admin.polled(2)
    await before.feed.stop()
    await admin.go_down()
    await (await follow()).feed.check()


async def test_a_damaged_file_is_ignored(admin, follow, tmp_path, caplog):
    (tmp_path / "feed.json").write_bytes(b'{"revision": 1, "rel')
    ref = admin.store("one")
    await admin.activate(ref)
    follower = await follow()
    await until(lambda: follower.runs() == ref.config_hash)
    assert "damaged" in caplog.text


async def test_going_down_and_coming_back_are_said_once_each(admin, follow, caplog):
    follower = await follow()
    await until(lambda: follower.feed.revision >= 0)
    await admin.go_down()
    await until(lambda: "not reachable" in caplog.text)
    for _ in range(5):
        await asyncio.sleep(0.01)
    admin.down = False
    await until(lambda: "reachable again" in caplog.text)
    assert len([entry for entry in caplog.records if "reachable" in entry.getMessage()]) == 2


async def test_stopping_ends_the_poll(admin, follow):
    follower = await follow()
    await admin.polled(1)
    async with asyncio.timeout(DEADLINE_S):
        await follower.feed.stop()
    assert follower.feed._task.done()
