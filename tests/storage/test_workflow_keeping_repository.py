"""Lists, exports and erasures of the Workflow service, on both databases."""

import asyncio
import json
from dataclasses import replace

import pytest
from support.workflow_records import NOW, after, erasure, new_session, rows, task, turn

from signalbox.workflow.background.records import ScheduleRecord
from signalbox.workflow.background.schedule_repository import SqlScheduleStore
from signalbox.workflow.background.task_repository import SqlTaskStore
from signalbox.workflow.keeping.listing import SessionFilter
from signalbox.workflow.keeping.repository import SqlKeepingStore
from signalbox.workflow.repository import SqlSessionStore


@pytest.fixture(scope="session")
def database_service():
    return "workflow"


@pytest.fixture
def kept(database):
    return SqlKeepingStore(database)


async def talked(database, session_id, *, said="hi", reply='{"message": "hello"}', at=NOW, **changes):
    session = new_session(session_id=session_id, **changes)
    following = after(session, updated_at=at)
    record = turn(1, session.tenant, session_id, user_text=said, reply=reply)
    await SqlSessionStore(database).commit(session, following, record, begun=False)
    return replace(following, stored=True)


async def found(kept, text=None, before=None, workflows=None, limit=10, **wanted):
    page = await kept.page("acme", workflows, SessionFilter(text=text, **wanted), before, limit)
    return [(session.session_id, hit) for session, hit in page]


async def test_pages_go_by_time_and_then_by_id(kept, database):
    for name, at in (("a", NOW), ("b", NOW + 1), ("c", NOW + 1), ("d", NOW + 2)):
        await talked(database, name, at=at)
    await talked(database, "z", tenant="rival")
    assert await found(kept) == [("d", True), ("c", True), ("b", True), ("a", True)]
    assert await found(kept, limit=2) == [("d", True), ("c", True)]
    assert await found(kept, before=(NOW + 1, "c")) == [("b", True), ("a", True)]
    assert await found(kept, since=NOW + 1, until=NOW + 1) == [("c", True), ("b", True)]


async def test_filters(kept, database):
    await talked(database, "a", user_id="u1")
    await talked(database, "b", user_id="u2", workflow_id="other")
    closed = await talked(database, "c", user_id="u1", status="closed")
    assert await found(kept, user_id="u1", status="closed") == [(closed.session_id, True)]
    assert await found(kept, workflow_id="other") == [("b", True)]
    assert await found(kept, workflows=frozenset({"other"})) == [("b", True)]
    assert await found(kept, workflows=frozenset()) == []


async def test_a_text_is_found_in_messages_only(kept, database):
    await talked(database, "a", said="Where is 订单 1042?")
    await talked(database, "b", reply='{"message": "50% off_now", "status": "success"}')
    # What no text column of PostgreSQL could hold, a reply may carry as JSON.
    await talked(database, "c", reply='{"message": "odd \\u0000"}')
    texts = ("订单", "50% OFF_", "50%off", "success", "where")
    hits = {text: [name for name, hit in await found(kept, text=text) if hit] for text in texts}
    assert hits == {"订单": ["a"], "50% OFF_": ["b"], "50%off": [], "success": [], "where": ["a"]}


async def test_all_turns_of_a_session_come_in_order_also_those_at_one_place(kept, database):
    session = await talked(database, "a")
    store = SqlSessionStore(database)
    for number in (2, 3, 4):
        # Turns that say nothing leave the next one the same place in the history.
        following = replace(after(session), message_count=session.message_count)
        record = turn(number, session_id="a", first_message=3, kind="timer")
        await store.commit(session, following, record, begun=False)
        session = replace(following, stored=True)
    seen, behind = [], (0, "")
    while page := await kept.turns(session, behind, 2):
        seen += [record.turn_id for record in page]
        behind = (page[-1].first_message, page[-1].turn_id)
    assert seen == [f"acme-a-{number}" for number in (1, 2, 3, 4)]
    assert await kept.recent_turns(session, NOW, 10) != []
    assert await kept.recent_turns(session, NOW + 1, 10) == []


async def test_sessions_and_tasks_of_a_user(kept, database):
    for name in ("a", "b", "c"):
        await talked(database, name, user_id="u1")
    await talked(database, "d", user_id="u2")
    await SqlTaskStore(database).add(task(session_id="a"))
    assert [session.session_id for session in await kept.sessions_of("acme", "u1", "a", 1)] == ["b"]
    assert [session.session_id for session in await kept.sessions_of("acme", "u1", "", 9)] == ["a", "b", "c"]
    assert await kept.sessions_of("rival", "u1", "", 9) == []
    [listed] = await kept.tasks(new_session(session_id="a"), 10)
    assert listed["task_id"] == "task1"
    assert await kept.summary(new_session()) is None


async def test_schedules_of_a_user_are_those_whose_message_is_the_users(kept, database):
    store = SqlScheduleStore(database)
    for number, user in enumerate(("u1", "u2", None)):
        request = json.dumps({"message": "hi \u0000" if user is None else "hi", "user_id": user})
        await store.add(
            ScheduleRecord(
                tenant="acme",
                schedule_id=f"s{number}",
                subject="key:1",
                name="n",
                cron="* * * * *",
                timezone="UTC",
                request=request,
                status="active",
                due_at=NOW,
                created_at=NOW,
                updated_at=NOW,
            )
        )
    assert [row["schedule_id"] for row in await kept.schedules_of("acme", "u1")] == ["s0"]
    await kept.delete_schedules("rival", "u1")
    await kept.delete_schedules("acme", "u1")
    assert [row["schedule_id"] for row in await rows(database, "schedules")] == ["s1", "s2"]


async def test_an_erasure_is_taken_by_one_and_comes_back_until_it_ends(kept, database):
    for number in range(6):
        await kept.add(erasure(number))
    taken = await asyncio.gather(*(kept.take_due(NOW, NOW + 10, 2) for _ in range(6)))
    names = [each.erasure_id for batch in taken for each in batch]
    assert len(names) == len(set(names))
    while more := await kept.take_due(NOW, NOW + 10, 2):
        names += [each.erasure_id for each in more]
    assert len(names) == 6
    [one] = await kept.take_due(NOW + 10, NOW + 20, 1)
    assert one.attempt == 2
    await kept.put_off(one, NOW + 500)
    assert len(await kept.take_due(NOW + 400, NOW + 401, 10)) == 5
    await kept.end(one)
    assert len(await rows(database, "erasures")) == 5


async def test_tasks_of_a_session_are_those_that_its_owner_has_queued(kept, database):
    await talked(database, "a", user_id="u1")
    store = SqlTaskStore(database)
    for number, (subject, user) in enumerate(
        [("key:1", None), ("key:1", "u1"), ("key:2", "u1"), ("key:2", None), ("key:2", "u2"), ("key:1", "u2")]
    ):
        request = json.dumps({"message": "hi", **({"user_id": user} if user else {})})
        await store.add(task(number, session_id="a", subject=subject, request=request))
    of_a_user = await kept.tasks(new_session(session_id="a", subject="key:1", user_id="u1"), 10)
    assert {row["task_id"] for row in of_a_user} == {"task0", "task1", "task2"}
    of_a_key = await kept.tasks(new_session(session_id="a", subject="key:1"), 10)
    assert {row["task_id"] for row in of_a_key} == {"task0", "task1", "task5"}
