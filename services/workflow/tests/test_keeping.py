"""Lists, exports, deletion and erasure: who sees what, what is in them, and what is left."""

import json
from dataclasses import replace
from typing import Any

import pytest
from support.apps import caller, service_app
from support.workflow_stage import ALICE, CONFIG, RIVAL, Stage, rows_of, skill_says

from signalbox.common.auth import create_key
from signalbox.common.cache import CacheUnavailable, StoredValue
from signalbox.common.errors import Forbidden, ValidationFailed
from signalbox.common.ids import now_ms
from signalbox.common.storage import Statement, Write
from signalbox.common.transport import HopUnreachable
from signalbox.contracts.identity import KeyRecord, Principal, Scope
from signalbox.workflow.errors import SessionNotFound
from signalbox.workflow.following import owner_key
from signalbox.workflow.keeping import erasing
from signalbox.workflow.keeping.endpoints import router as keeping_router
from signalbox.workflow.keeping.listing import SessionFilter
from signalbox.workflow.turn_log import log_name

BACKEND = Principal(tenant="acme", subject="key:app", scopes=frozenset({Scope.QUERY, Scope.ACT_FOR_USERS}))
OPERATOR = Principal(tenant="acme", subject="key:op", scopes=frozenset({Scope.QUERY, Scope.SESSIONS_READ}))
SECRET = "heliotrope"


async def listed(stage: Stage, cursor: str | None = None, limit: int = 50, **wanted: Any) -> list[str]:
    page = await stage.lists.page(OPERATOR, SessionFilter(**wanted), cursor, limit)
    return [session.session_id for session in page.sessions]


def key_record(key: Any, scopes: tuple[Scope, ...]) -> KeyRecord:
    return KeyRecord(
        key_id=key.key_id, tenant="acme", name="k", secret_sha256=key.secret_sha256,
        scopes=frozenset(scopes), created_at=now_ms(),
    )  # fmt: skip


async def exported(chunks: Any) -> Any:
    return json.loads(b"".join([chunk async for chunk in chunks]))


async def touch(stage: Stage, session_id: str, at: int) -> None:
    statement = Statement("UPDATE workflow_sessions SET updated_at = :at WHERE session_id = :name")
    await stage.database.write(Write(statement, {"at": at, "name": session_id}, expect=1))


async def test_sessions_are_listed_by_when_something_was_said_last_page_by_page(stage):
    for number in range(7):
        await stage.ask("are you open?", f"s{number}")
        await touch(stage, f"s{number}", 1_000 + number // 2)
    await stage.ask("are you open?", "other", RIVAL) if stage.releases.publish(tenant="rival") else None
    pages, cursor = [], None
    while True:
        page = await stage.lists.page(OPERATOR, SessionFilter(), cursor, 3)
        pages.append([session.session_id for session in page.sessions])
        cursor = page.next_cursor
        if cursor is None:
            break
    assert pages == [["s6", "s5", "s4"], ["s3", "s2", "s1"], ["s0"]]


async def test_sessions_are_found_by_user_workflow_status_and_time(stage):
    stage.releases.publish({**CONFIG, "workflow_id": "other"}, default=False)
    await stage.ask("are you open?", "a", BACKEND, user_id="u1")
    await stage.ask("bye", "b", BACKEND, user_id="u1")
    await stage.ask("are you open?", "c", BACKEND, user_id="u2", workflow_id="other")
    for name, at in (("a", 1_000), ("b", 2_000), ("c", 3_000)):
        await touch(stage, name, at)
    assert await listed(stage, user_id="u1") == ["b", "a"]
    assert await listed(stage, workflow_id="other") == ["c"]
    assert await listed(stage, status="closed") == ["b"]
    assert await listed(stage, since=2_000) == ["c", "b"]
    assert await listed(stage, until=2_000) == ["b", "a"]
    assert await listed(stage, user_id="u1", status="active", since=500) == ["a"]
    narrow = OPERATOR.model_copy(update={"workflows": frozenset({"other"})})
    page = await stage.lists.page(narrow, SessionFilter(), None, 10)
    assert [session.session_id for session in page.sessions] == ["c"]


async def test_a_text_is_found_in_what_either_side_said_and_nowhere_else(stage, monkeypatch):
    stage.releases.publish({**CONFIG, "policies": {"fallback": {"skill": "advisor"}}})
    stage.skills.answers = [skill_says("Take 100% of_it!"), skill_says("Nothing.")]
    await stage.ask("My HELIOTROPE died", "user")
    await stage.ask("hello there", "neither")
    assert await listed(stage, text="heliotrope") == ["user"]
    assert await listed(stage, text="100% of_it!") == ["user"]
    assert await listed(stage, text="100%of") == []
    # Words of the stored reply that nobody said.
    assert await listed(stage, text="session_id") == []


async def test_a_text_search_looks_into_some_sessions_a_page_and_goes_on(stage, monkeypatch):
    monkeypatch.setattr("signalbox.workflow.keeping.listing._SCANNED", 3)
    for number in range(8):
        await stage.ask("are you open?" if number else SECRET, f"s{number}")
        await touch(stage, f"s{number}", 1_000 + number)
    found, cursor, pages = [], None, 0
    while pages == 0 or cursor is not None:
        page = await stage.lists.page(OPERATOR, SessionFilter(text=SECRET), cursor, 2)
        found += [session.session_id for session in page.sessions]
        cursor, pages = page.next_cursor, pages + 1
    assert (found, pages) == (["s0"], 3)


async def test_a_cursor_of_nobody_is_refused(stage):
    for cursor in ("x", "%%%", "bm90YW51bWJlcjp4"):
        with pytest.raises(ValidationFailed):
            await listed(stage, cursor)


async def test_an_export_has_all_of_a_session(stage):
    stage.elsewhere.items = [{"run": 1}, {"run": 2}]
    for number in range(3):
        await stage.ask(f"are you open? {number}")
    turns = await stage.turns()
    await stage.store.feedback("acme", turns[0]["turn_id"], "up", "nice")
    document = await exported(stage.exporter.session(await stage.store.load("acme", "s1")))
    assert document["session"]["session_id"] == "s1"
    assert document["session"]["state"]["language"] == "en"
    assert [turn["user_text"] for turn in document["turns"]] == [f"are you open? {n}" for n in range(3)]
    first = document["turns"][0]
    assert (first["thumb"], first["comment"], first["reply"]["message"]) == (
        "up",
        "nice",
        "Hello!\n\nFrom 9 to 17.",
    )
    assert [event["type"] for event in first["events"]] == ["start", "intent", "text"]
    assert document["elsewhere"] == [{"run": 1}, {"run": 2}]


async def test_an_export_goes_on_past_its_pages(stage, monkeypatch):
    monkeypatch.setattr("signalbox.workflow.keeping.exporting._PAGE", 2)
    for number in range(5):
        await stage.ask(f"open {number}", "long", BACKEND, user_id="u1")
        await stage.ask("open", f"s{number}", BACKEND, user_id="u1")
    document = await exported(stage.exporter.user("acme", "u1"))
    sessions = {entry["session"]["session_id"]: entry["turns"] for entry in document["sessions"]}
    assert set(sessions) == {"long", *(f"s{number}" for number in range(5))}
    assert [turn["user_text"] for turn in sessions["long"]] == [f"open {number}" for number in range(5)]
    assert (await exported(stage.exporter.user("acme", "nobody")))["sessions"] == []


async def test_an_export_that_a_service_cannot_give_is_a_problem_and_no_document(stage):
    app = service_app(keeping_router, name="workflow")
    app.state.views, app.state.exporter = stage.views, stage.exporter
    key = create_key()
    app.state.authenticator.keys.replace([key_record(key, scopes=(Scope.QUERY, Scope.SESSIONS_READ))])
    await stage.ask("are you open?", "s1", BACKEND, user_id="u1")
    async with caller(app) as client:
        client.headers["authorization"] = f"Bearer {key.key}"
        for path in ("/api/v1/session/s1/export", "/api/v1/users/u1/export"):
            stage.elsewhere.failing = HopUnreachable("skills", "away")
            refused = await client.get(path)
            assert refused.status_code == 503
            assert refused.headers["content-type"] == "application/problem+json"
            assert refused.json()["code"] == "service_unreachable"
            stage.elsewhere.failing = None
            given = await client.get(path)
            assert (given.status_code, given.headers["cache-control"]) == (200, "no-store")
            assert "are you open?" in str(given.json())


async def leave_traces(stage: Stage, session_id: str, **more: Any) -> str:
    """A session whose secret is in every table; the id of its streamed turn."""
    timers = [{"id": "t", "delay_seconds": 60, "reply": SECRET}]
    webhook = {"url": "http://crm/x", "secret": "secret:crm", "payload": {"said": "{{ parameters.name }}"}}
    actions = [
        {**action, "webhook": webhook, "reply": "Hi {{ parameters.name }}"}
        if action["id"] == "remember"
        else action
        for action in CONFIG["actions"]
    ]
    stage.releases.publish({**CONFIG, "timers": timers, "actions": actions})
    await stage.ask(f"my name is {SECRET}", session_id, BACKEND, key=f"key-{session_id}", **more)
    started, *_ = await stage.stream(f"open {SECRET}?", session_id, BACKEND, **more)
    return str(started["data"]["turn_id"])


async def places(stage: Stage) -> list[str]:
    """Tables that hold the secret."""
    tables = ("sessions", "turns", "idempotency", "outbox", "timers", "tasks", "summaries", "erasures")
    return [name for name in tables if SECRET in str(await rows_of(stage.database, f"workflow_{name}"))]


async def test_a_deleted_session_leaves_nothing_in_any_table_or_cache(stage):
    turn_id = await leave_traces(stage, "s1")
    await stage.keeper.drain()
    assert {"sessions", "turns", "idempotency", "outbox"} <= set(await places(stage))
    assert await stage.cache.logs.read(log_name("acme", turn_id), 0)
    await stage.views.delete(BACKEND, "s1", None)
    assert await places(stage) == []
    assert await rows_of(stage.database, "workflow_timers") == []
    assert await stage.cache.logs.read(log_name("acme", turn_id), 0) == []
    assert await stage.cache.values.get(owner_key("acme", turn_id)) is None
    [asked] = stage.elsewhere.asked
    assert (asked.session_ids, asked.subjects) == (["s1"], ["key:app"])
    assert turn_id in asked.turn_ids


async def test_what_cannot_be_forgotten_now_is_forgotten_later_and_once_more_when_all_has_ended(
    stage, monkeypatch
):
    await stage.ask("are you open?")
    stage.elsewhere.failing = CacheUnavailable("away")
    await stage.views.delete(ALICE, "s1", None)
    assert len(await rows_of(stage.database, "workflow_erasures")) == 1
    real = erasing.now_ms
    assert await stage.eraser.forget_due() == 0
    stage.elsewhere.failing = None
    for seconds, asked in ((31, 1), (32, 1), (61, 2), (100, 2)):
        monkeypatch.setattr(erasing, "now_ms", lambda seconds=seconds: real() + seconds * 1000)
        await stage.eraser.forget_due()
        assert len(stage.elsewhere.asked) == asked
    assert await rows_of(stage.database, "workflow_erasures") == []


async def test_an_erased_user_is_gone_and_others_are_not(stage):
    await leave_traces(stage, "s1", user_id="u1")
    await leave_traces(stage, "s2", user_id="u1")
    await stage.ask("are you open?", "s3", BACKEND, user_id="u2")
    await stage.keeper.drain()
    erased = await stage.eraser.user("acme", "u1")
    assert (erased.status, erased.sessions) == ("erased", 2)
    assert await places(stage) == []
    assert "u1" not in [row["user_id"] for row in await rows_of(stage.database, "workflow_sessions")]
    assert stage.elsewhere.asked[-1].user_id == "u1"
    assert await listed(stage) == ["s3"]
    assert (await stage.eraser.user("acme", "u1")).sessions == 0


async def test_who_may_only_read_the_sessions_of_others_may_not_delete_them(stage):
    await stage.ask("are you open?")
    with pytest.raises(Forbidden):
        await stage.views.delete(OPERATOR, "s1", None)
    with pytest.raises(SessionNotFound):
        await stage.views.delete(replace_scopes(OPERATOR, Scope.QUERY), "s1", None)
    deleter = replace_scopes(OPERATOR, Scope.QUERY, Scope.SESSIONS_READ, Scope.SESSIONS_DELETE)
    await stage.views.delete(deleter, "s1", None)
    assert await listed(stage) == []


async def test_a_copy_that_a_late_turn_left_in_the_cache_is_dropped_in_the_end(stage, monkeypatch):
    await stage.ask("are you open?")
    await stage.views.delete(ALICE, "s1", None)
    name = "session:acme:s1"
    await stage.cache.values.put(StoredValue(name, b"late", 60_000))
    real = erasing.now_ms
    monkeypatch.setattr(erasing, "now_ms", lambda: real() + 61_000)
    await stage.eraser.forget_due()
    assert await stage.cache.values.get(name) is None


def replace_scopes(principal: Principal, *scopes: Scope) -> Principal:
    return principal.model_copy(update={"scopes": frozenset(scopes)})


async def test_a_session_that_moves_on_while_it_is_erased_is_erased_all_the_same(stage):
    await stage.ask("are you open?", "s1", BACKEND, user_id="u1")
    load, loads = stage.store.load, 0

    async def loading(tenant: str, session_id: str):
        nonlocal loads
        loads += 1
        found = await load(tenant, session_id)
        return replace(found, last_seq=found.last_seq - 1) if loads == 1 else found

    stage.store.load = loading
    assert (await stage.eraser.user("acme", "u1")).sessions == 1
    assert await stage.turns() == []
