"""Admin's stores on both databases."""

import asyncio
from dataclasses import replace

import pytest

from signalbox.admin.feed import StateFeed
from signalbox.admin.key_repository import SqlKeyStore
from signalbox.admin.migrations import HEAD
from signalbox.admin.records import AuditEntry, Cursor, Extent, Key, Preparation, Release, Replica, Snapshot
from signalbox.admin.repository import SqlConfigStore
from signalbox.admin.state_repository import SqlReplicaStore, SqlStateStore
from signalbox.admin.tables import METADATA
from signalbox.common.auth import KeyRing, create_key
from signalbox.common.ids import new_id, now_ms
from signalbox.common.storage import DuplicateKey, PreconditionFailed, Statement
from signalbox.common.storage.migrations import script_head
from signalbox.contracts.admin import Artefact, SnapshotRef
from signalbox.contracts.identity import KeyRecord, Principal, Scope
from signalbox.contracts.problem import ProblemError

ALL = Statement("SELECT * FROM admin_audit")


@pytest.fixture(scope="session")
def database_service():
    return "admin"


@pytest.fixture
def config(database):
    return SqlConfigStore(database)


@pytest.fixture
def state(database):
    return SqlStateStore(database)


@pytest.fixture
def keys(database):
    return SqlKeyStore(database)


def who(tenant="t"):
    return Principal(tenant=tenant, subject="key:1")


def audit(action="test", tenant="t"):
    return AuditEntry.by(who(tenant), action, "target", note="é")


def snapshot(name="a", tenant="t", workflow_id="shop", created_at=1000):
    return Snapshot(
        tenant=tenant,
        config_hash=name * 64,
        workflow_id=workflow_id,
        name="Shop 店",
        schema_version="1",
        size=2,
        state="stored",
        warnings=(ProblemError(pointer="/x", code="w", detail="W."),),
        created_at=created_at,
        created_by="key:1",
    )


def release(of, number=1, environment="default", created_at=1000):
    return Release(
        tenant=of.tenant,
        environment=environment,
        workflow_id=of.workflow_id,
        number=number,
        release_id=new_id("rel"),
        config_hash=of.config_hash,
        message="m",
        created_at=created_at,
        created_by="key:1",
    )


def key(tenant="t", created_at=1000, workflows=None):
    new = create_key()
    record = KeyRecord(
        key_id=new.key_id,
        tenant=tenant,
        name="k",
        secret_sha256=new.secret_sha256,
        scopes=frozenset({Scope.QUERY, Scope.LLM}),
        workflows=workflows,
        created_at=created_at,
    )
    return Key(record, "key:1")


def extent(tenant="t", workflows=None, after=None, limit=10):
    return Extent(tenant, workflows, after or Cursor(), limit)


async def built(config, of):
    await config.add_snapshot(of, "{}", audit(tenant=of.tenant))
    return await config.mark_built(of.built(()), [], audit(tenant=of.tenant))


async def activated(config, of, number=1, seen=None, **more):
    made = release(of, number, **more)
    await config.activate(made, seen, "none", audit(tenant=of.tenant))
    return made


def test_the_migrations_lead_to_the_head_that_the_code_names():
    assert script_head("signalbox.admin.migrations") == HEAD


async def test_the_tables_are_those_of_the_migrations(database):
    for table in METADATA.tables.values():
        assert await database.fetch_all(Statement(f"SELECT * FROM {table.name}")) == []


async def test_a_snapshot_is_stored_once(config, database):
    first = snapshot()
    assert await config.add_snapshot(first, '{"a":1}', audit()) is first
    again = await config.add_snapshot(replace(first, created_by="other"), '{"a":1}', audit())
    assert again == first
    stored = await config.document("t", first.config_hash)
    assert (stored.snapshot, stored.document, stored.artefacts) == (first, '{"a":1}', ())
    assert len(await database.fetch_all(ALL)) == 1


async def test_two_who_store_the_same_snapshot_at_once_both_get_it(config):
    found = await asyncio.gather(*(config.add_snapshot(snapshot(), "{}", audit()) for _ in range(6)))
    assert {each.config_hash for each in found} == {"a" * 64}
    assert len(await config.snapshots(extent())) == 1


async def test_what_was_built_is_kept_and_only_once(config):
    await config.add_snapshot(snapshot(), "{}", audit())
    artefact = Artefact(
        name="n", builder="b/1", platform="any", media_type="x/y", sha256="0" * 64, data_base64="AA=="
    )
    after = snapshot().built((ProblemError(pointer="", code="b", detail="B."),))
    assert await config.mark_built(after, [artefact], audit()) == after
    assert await config.mark_built(snapshot().built(()), [], audit()) == after
    stored = await config.document("t", after.config_hash)
    assert stored.snapshot == after
    assert stored.artefacts == (artefact,)
    workflow = await config.workflow("t", "shop")
    assert (workflow.name, workflow.is_default) == ("Shop 店", False)


async def test_only_what_is_not_built_is_discarded(config):
    await config.add_snapshot(snapshot("a"), "{}", audit())
    await config.discard_stored(snapshot("a"), audit())
    assert await config.snapshot("t", "a" * 64) is None
    await built(config, snapshot("b"))
    await config.discard_stored(snapshot("b"), audit())
    assert (await config.snapshot("t", "b" * 64)).state == "built"


async def test_activation_moves_the_pointer_and_takes_everything_along(config, state, database):
    first, second = await built(config, snapshot("a")), await built(config, snapshot("b"))
    preparation = Preparation("prep_1", first.ref, now_ms() + 60_000)
    await state.prepare(preparation)
    made = release(first)
    await config.activate(made, None, "prep_1", audit("activate"))
    assert await config.active("t", "default", "shop") == made
    assert (await config.snapshot("t", first.config_hash)).state == "ready"
    assert (await config.workflow("t", "shop")).is_default
    next_one = await activated(config, second, 2, seen=made)
    assert await config.active("t", "default", "shop") == next_one
    known = await state.load()
    assert [(pointer.number, pointer.is_default) for pointer in known.releases] == [(2, True)]
    assert known.preparations == ()
    assert known.revision == 3  # prepared, activated, activated
    assert "activate" in [row["action"] for row in await database.fetch_all(ALL)]


async def test_who_saw_an_older_release_changes_nothing(config, state, database):
    first, second, third = [await built(config, snapshot(name)) for name in "abc"]
    one = await activated(config, first)
    two = await activated(config, second, 2, seen=one)
    before = (await state.revision(), len(await database.fetch_all(ALL)))
    with pytest.raises((PreconditionFailed, DuplicateKey)):
        await activated(config, third, 2, seen=one)
    with pytest.raises(DuplicateKey):
        await activated(config, third, 1)
    with pytest.raises(PreconditionFailed):
        await activated(config, third, 3, seen=replace(two, number=7))
    assert (await state.revision(), len(await database.fetch_all(ALL))) == before
    assert await config.active("t", "default", "shop") == two


async def test_a_snapshot_that_is_not_there_is_not_activated(config, state):
    with pytest.raises(PreconditionFailed):
        await activated(config, snapshot())
    assert await config.active("t", "default", "shop") is None
    assert await state.revision() == 0


async def test_one_of_several_who_activate_at_once_wins(config):
    snapshots = [await built(config, snapshot(name)) for name in "abcdef"]
    results = await asyncio.gather(*(activated(config, each) for each in snapshots), return_exceptions=True)
    won = [result for result in results if isinstance(result, Release)]
    assert len(won) == 1
    assert all(isinstance(result, (DuplicateKey, Release)) for result in results)
    assert await config.active("t", "default", "shop") == won[0]


async def test_tenants_and_environments_are_apart(config, state):
    mine, theirs = await built(config, snapshot()), await built(config, snapshot(tenant="u"))
    await activated(config, mine)
    await activated(config, mine, environment="staging")
    await activated(config, theirs)
    assert len(await config.pointers("t")) == 2
    assert [pointer.tenant for pointer in await config.pointers("u")] == ["u"]
    assert len((await state.load()).releases) == 3
    assert [each.tenant for each in await config.snapshots(extent("u"))] == ["u"]
    assert await config.document("v", mine.config_hash) is None
    assert await config.workflow("v", "shop") is None


async def test_the_default_workflow_is_the_first_until_another_is_set(config, state):
    for name, workflow_id in (("a", "one"), ("b", "two")):
        await activated(config, await built(config, snapshot(name, workflow_id=workflow_id)))
    defaults = {pointer.workflow_id: pointer.is_default for pointer in await config.pointers("t")}
    assert defaults == {"one": True, "two": False}
    await config.set_default("t", "two", audit())
    assert [each.workflow_id for each in (await state.load()).releases if each.is_default] == ["two"]
    found = await config.workflows("t", None, "", 10)
    assert [(each.workflow_id, each.is_default) for each in found] == [("one", False), ("two", True)]
    assert [each.workflow_id for each in await config.workflows("t", None, "one", 10)] == ["two"]
    assert [each.workflow_id for each in await config.workflows("t", frozenset({"one"}), "", 10)] == ["one"]
    assert await config.workflows("t", frozenset(), "", 10) == []


async def test_lists_run_from_new_to_old_also_within_one_millisecond(config):
    seen = None
    for number, (name, at) in enumerate([("a", 5), ("c", 7), ("b", 7), ("d", 9)], start=1):
        of = await built(config, snapshot(name, created_at=at))
        seen = await activated(config, of, number, seen=seen, created_at=at)
    order = [each.config_hash[0] for each in await config.snapshots(extent())]
    assert order == ["d", "c", "b", "a"]
    paged, cursor = [], None
    while page := await config.snapshots(extent(after=cursor, limit=1)):
        paged.append(page[0].config_hash[0])
        cursor = Cursor.parse(str(page[-1].cursor))
    assert paged == order
    releases = await config.releases(extent())
    assert [(each.number, active) for each, active in releases] == [
        (4, True),
        (3, False),
        (2, False),
        (1, False),
    ]
    assert len(await config.releases(extent(after=releases[1][0].cursor))) == 2
    assert await config.releases(extent(workflows=frozenset({"other"}))) == []


async def test_keys_are_kept_and_revoked_once(keys, state):
    mine, theirs = key(workflows=frozenset({"shop"})), key("u")
    await keys.add(mine, audit())
    await keys.add(theirs, audit(tenant="u"))
    assert await keys.key("t", mine.record.key_id) == mine
    assert await keys.key("t", theirs.record.key_id) is None
    assert {each.key_id for each in (await state.load()).keys} == {mine.record.key_id, theirs.record.key_id}
    first = audit()
    await keys.revoke("t", mine.record.key_id, first)
    await keys.revoke("t", mine.record.key_id, replace(audit(), at=first.at + 5))
    await keys.revoke("t", theirs.record.key_id, audit())
    assert (await keys.key("t", mine.record.key_id)).record.revoked_at == first.at
    assert [each.key_id for each in (await state.load()).keys] == [theirs.record.key_id]
    assert [each.record.key_id for each in await keys.keys("t", Cursor(), 10)] == [mine.record.key_id]


async def test_every_change_has_a_revision_of_its_own(keys, state):
    assert await state.revision() == 0
    await asyncio.gather(*(keys.add(key(), audit()) for _ in range(12)))
    assert await state.revision() == 12


async def test_preparations_expire(state):
    old = Preparation("prep_1", SnapshotRef(tenant="t", config_hash="a" * 64), now_ms() - 1)
    new = Preparation("prep_2", SnapshotRef(tenant="t", config_hash="b" * 64), now_ms() + 60_000)
    await state.prepare(old)
    await state.prepare(new)
    assert (await state.load()).preparations == (new,)
    await state.withdraw(new)
    known = await state.load()
    assert (known.preparations, known.revision) == ((), 3)


async def test_replicas_live_as_long_as_their_lease(database):
    store = SqlReplicaStore(database)
    ref = SnapshotRef(tenant="t", config_hash="a" * 64)
    now = now_ms()
    one = Replica("flows", "flows-1", 3, frozenset({ref}), now + 60_000)
    two = Replica("tools", "tools-1", -1, frozenset(), now + 60_000)
    await store.saw(one)
    await store.saw(two)
    await store.saw(replace(one, revision=4))
    assert {each.instance: each.revision for each in await store.live(now)} == {"flows-1": 4, "tools-1": -1}
    assert [each.loaded for each in await store.live(now) if each.instance == "flows-1"] == [frozenset({ref})]
    assert await store.live(now + 60_001) == []
    await store.gone("flows-1")
    assert await store.live(now) == [two]


async def test_a_change_by_one_admin_reaches_those_who_wait_at_another(keys, state):
    rings = [KeyRing(), KeyRing()]
    here, there = [StateFeed(state, ring, shared=True, poll_s=0.02) for ring in rings]
    await here.start()
    await there.start()
    try:
        first = await there.wait(-1, 1)
        waiting = asyncio.create_task(there.wait(first.revision, 5))
        await keys.add(key(), audit())
        told = (await here.refresh()).revision
        assert (await asyncio.wait_for(waiting, 2)).revision == told
        assert len(rings[1]) == 1
    finally:
        await here.stop()
        await there.stop()


async def test_nobody_is_told_an_older_state_than_another_admin_told_before(keys, state):
    lagging = StateFeed(state, KeyRing(), shared=True, poll_s=60)
    await lagging.start()
    try:
        await keys.add(key(), audit())
        assert (await lagging.known(0)).revision == 0
        assert (await lagging.known(1)).revision == 1
    finally:
        await lagging.stop()
