"""Snapshots by hash, in memory and on disk."""

import asyncio
import base64
import hashlib
import json
import threading

import pytest
from support.admin_stand_in import AdminStandIn
from support.apps import SERVICE_SECRET

from signalbox.common.auth import ServiceTokens
from signalbox.common.clients import AdminClient, ServiceCallFailed
from signalbox.common.errors import SignalboxError
from signalbox.common.snapshots import Snapshots, UnknownSnapshot
from signalbox.common.telemetry import Tracing
from signalbox.common.transport import AsgiServiceHop
from signalbox.contracts.admin import Artefact


class Compiler:
    """Counts what it compiles; a document ``bad`` cannot be compiled."""

    def __init__(self):
        self.compiled = []
        self.threads = set()

    def __call__(self, document):
        self.threads.add(threading.current_thread())
        if document.document == "bad":
            raise ValueError("not a config of this version")
        self.compiled.append((document.tenant, document.document))
        return f"{document.tenant}:{document.document}"


@pytest.fixture
def admin():
    return AdminStandIn()


@pytest.fixture
def compiler():
    return Compiler()


@pytest.fixture
def make(admin, compiler, tmp_path):
    def build(max_bytes=10_000, disk_bytes=1_000_000):
        hop = AsgiServiceHop(admin.app, service="admin")
        client = AdminClient(hop, ServiceTokens(SERVICE_SECRET, "flows"), Tracing().tracer("flows"))
        return Snapshots(
            client, compiler, tmp_path, max_bytes, lambda stored: len(stored.document.encode()), disk_bytes
        )

    return build


async def get(snapshots, ref):
    return await snapshots.get(ref.tenant, ref.config_hash)


async def test_a_snapshot_is_fetched_and_compiled_once_off_the_event_loop(make, admin, compiler):
    ref, snapshots = admin.store("one"), make()
    assert snapshots.peek(ref.tenant, ref.config_hash) is None
    assert [await get(snapshots, ref) for _ in range(3)] == ["acme:one"] * 3
    assert snapshots.peek(ref.tenant, ref.config_hash) == "acme:one"
    assert (admin.fetched, compiler.compiled) == ([("acme", ref.config_hash)], [("acme", "one")])
    assert threading.main_thread() not in compiler.threads


async def test_those_who_want_it_at_once_share_one_fetch(make, admin, compiler):
    ref, snapshots = admin.store("one"), make()
    admin.may_fetch.clear()
    waiting = [asyncio.create_task(get(snapshots, ref)) for _ in range(20)]
    await asyncio.wait_for(admin.fetching.wait(), 5)
    admin.may_fetch.set()
    assert await asyncio.gather(*waiting) == ["acme:one"] * 20
    assert (len(admin.fetched), len(compiler.compiled)) == (1, 1)


async def test_one_who_gives_up_does_not_take_it_from_the_others(make, admin):
    ref, snapshots = admin.store("one"), make()
    admin.may_fetch.clear()
    first, second = (asyncio.create_task(get(snapshots, ref)) for _ in range(2))
    await asyncio.wait_for(admin.fetching.wait(), 5)
    first.cancel()
    admin.may_fetch.set()
    assert await second == "acme:one"
    assert len(admin.fetched) == 1
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_failure_is_not_remembered(make, admin):
    ref, snapshots = admin.store("one"), make()
    admin.down = True
    with pytest.raises(ServiceCallFailed):
        await get(snapshots, ref)
    admin.down = False
    assert await get(snapshots, ref) == "acme:one"


async def test_what_a_tenant_has_not_published_it_does_not_get(make, admin):
    ref, snapshots = admin.store("one", tenant="acme"), make()
    assert await get(snapshots, ref) == "acme:one"
    with pytest.raises(UnknownSnapshot):
        await snapshots.get("rival", ref.config_hash)


async def test_two_tenants_with_the_same_document_have_their_own(make, admin, compiler, tmp_path):
    mine, theirs, snapshots = admin.store("same"), admin.store("same", tenant="rival"), make()
    assert [await get(snapshots, ref) for ref in (mine, theirs)] == ["acme:same", "rival:same"]
    assert {path.parent.name for path in tmp_path.rglob("*.json")} == {"acme", "rival"}


@pytest.mark.parametrize("changes", [{"document": "forged"}, {"tenant": "rival"}, {"config_hash": "0" * 64}])
async def test_an_answer_that_is_not_what_was_asked_for_is_refused(make, admin, tmp_path, changes):
    ref, snapshots = admin.store("one", changes=changes), make()
    with pytest.raises(SignalboxError, match="another"):
        await get(snapshots, ref)
    assert list(tmp_path.rglob("*.json")) == []


async def test_a_restarted_service_serves_from_disk_while_admin_is_down(make, admin):
    ref = admin.store("one")
    await get(make(), ref)
    admin.down = True
    assert await get(make(), ref) == "acme:one"


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: content.replace(b"one", b"two"),
        lambda content: b"\xff" * 100,
    ],
)
async def test_a_damaged_file_is_fetched_again_and_repaired(make, admin, tmp_path, damage):
    ref = admin.store("one")
    await get(make(), ref)
    [file] = tmp_path.rglob("*.json")
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    assert await get(make(), ref) == "acme:one"
    assert file.read_bytes() == whole
    assert len(admin.fetched) == 2
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [file]


def turned(content):
    """The file with one bit of its artefact's bytes turned, well-formed."""
    stored = json.loads(content)
    stored["artefacts"][0]["data_base64"] = base64.b64encode(b"bUilt").decode()
    return json.dumps(stored).encode()


def no_base64(content):
    """The file with something else where the artefact's bytes were."""
    stored = json.loads(content)
    stored["artefacts"][0]["data_base64"] = "?"
    return json.dumps(stored).encode()


@pytest.mark.parametrize("damage", [turned, no_base64])
async def test_an_artefact_that_is_damaged_on_disk_is_fetched_again_and_repaired(
    make, admin, tmp_path, caplog, damage
):
    artefact = Artefact(
        name="rules",
        builder="any",
        platform="any",
        media_type="any",
        sha256=hashlib.sha256(b"built").hexdigest(),
        data_base64=base64.b64encode(b"built").decode(),
    )
    ref = admin.store("one", changes={"artefacts": [artefact]})
    await get(make(), ref)
    [file] = tmp_path.rglob("*.json")
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    assert await get(make(), ref) == "acme:one"
    assert file.read_bytes() == whole
    assert len(admin.fetched) == 2
    assert "damaged snapshot file" in caplog.text


async def test_a_file_of_another_tenant_is_not_served(make, admin, tmp_path):
    ref = admin.store("one")
    await get(make(), ref)
    [file] = tmp_path.rglob("*.json")
    (tmp_path / "rival").mkdir()
    (tmp_path / "rival" / file.name).write_bytes(file.read_bytes())
    with pytest.raises(UnknownSnapshot):
        await make().get("rival", ref.config_hash)


async def test_a_disk_that_cannot_be_written_costs_only_the_restart(make, admin, tmp_path, caplog):
    (tmp_path / "acme").write_text("a file where the directory should be")
    ref = admin.store("one")
    assert await get(make(), ref) == "acme:one"
    assert "on disk" in caplog.text


async def test_the_least_recently_used_go_first_when_the_bytes_are_used_up(make, admin):
    snapshots = make(max_bytes=300)
    a, b, c = (admin.store(letter * 100) for letter in "abc")
    for ref in (a, b, c, a):
        await get(snapshots, ref)
    await get(snapshots, admin.store("d" * 150))
    assert [ref.config_hash for ref in snapshots.loaded] == [
        a.config_hash,
        admin.store("d" * 150).config_hash,
    ]


async def test_what_no_release_names_is_dropped_first_and_what_admin_waits_for_never(make, admin):
    snapshots = make(max_bytes=300)
    active, prepared = [admin.store(letter * 100) for letter in "ab"], admin.store("p" * 100)
    snapshots.pin(active, [prepared])
    for ref in (*active, prepared):
        await get(snapshots, ref)
    for letter in "cd":
        await get(snapshots, admin.store(letter * 100))
    # There is no room for more than one beside the prepared one: the active ones that were used longest ago went.
    assert snapshots.loaded == [active[1], prepared, admin.store("d" * 100)]
    await get(snapshots, active[0])
    assert snapshots.loaded == [active[1], prepared, active[0]]
    assert snapshots.memory == 300


async def test_many_active_ones_stay_within_the_bound_and_are_all_served_without_admin(make, admin, compiler):
    snapshots = make(max_bytes=1_000)
    active = [admin.store(f"{number:0100}") for number in range(40)]
    snapshots.pin(active)
    for ref in active:
        await snapshots.preload(ref)
    assert (snapshots.memory, len(snapshots.loaded), len(compiler.compiled)) == (1_000, 10, 10)
    admin.down = True
    for ref in active:
        assert await get(snapshots, ref)
        assert snapshots.memory <= 1_000


async def test_sizes_are_bytes_and_not_characters(make, admin):
    snapshots = make(max_bytes=250)
    for letter in "你好":
        await get(snapshots, admin.store(letter * 50))
    assert len(snapshots.loaded) == 1


async def test_one_that_is_too_large_alone_is_served_all_the_same(make, admin):
    snapshots, ref = make(max_bytes=10), admin.store("x" * 100)
    assert await get(snapshots, ref) == f"acme:{'x' * 100}"


async def test_copies_of_old_snapshots_on_disk_are_bounded_and_fetched_again(make, admin, tmp_path):
    refs = [admin.store(f"version {number:04}") for number in range(30)]
    snapshots = make(100, disk_bytes=1_000)
    for ref in refs:
        snapshots.pin([refs[0], ref])
        await get(snapshots, ref)
    sizes = {path.stem: path.stat().st_size for path in (tmp_path / "acme").iterdir()}
    assert sum(sizes.values()) <= 1_000
    assert {refs[0].config_hash, refs[-1].config_hash} <= sizes.keys()
    assert refs[1].config_hash not in sizes
    assert await get(snapshots, refs[1]) == "acme:version 0001"
