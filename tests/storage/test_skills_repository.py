"""Runs of sessions, shown and forgotten, on both databases."""

import time
from dataclasses import replace

import pytest
from support.workflow_records import NOW

from signalbox.common.storage import Statement
from signalbox.contracts.keeping import KeptDataRequest, OfSessions
from signalbox.skills.keeping import KeptRuns
from signalbox.skills.records import RunRecord, StepRecord
from signalbox.skills.repository import SqlRuns


def run(run_id, session="s1", tenant="acme"):
    return RunRecord(
        tenant=tenant,
        run_id=run_id,
        skill="chat",
        workflow_id="shop",
        config_hash="0" * 64,
        session_id=session,
        subject="key:1",
        turn_id="t1",
        epoch=1,
        request='{"message": "hi"}',
        created_at=NOW,
        updated_at=NOW,
    )


def step(run_id, tenant="acme"):
    return StepRecord(tenant, run_id, "1.0", "note", '{"what": "x"}', f"{tenant}/{run_id}/1", NOW)


@pytest.fixture(scope="session")
def database_service():
    return "skills"


@pytest.fixture
async def runs(database):
    made = SqlRuns(database)
    for name, session, tenant in (
        ("a", "s1", "acme"),
        ("b", "s2", "acme"),
        ("c", "s1", "acme"),
        ("a", "s1", "rival"),
    ):
        await made.begin(run(name, session, tenant), step(name, tenant))
    return made


async def test_runs_of_sessions_are_forgotten_with_their_steps(runs, database):
    assert (await KeptRuns(runs).forget("acme", OfSessions(session_ids=["s1", "s9"]))).rows == 2
    assert (await KeptRuns(runs).forget("acme", OfSessions(user_id="u1"))).rows == 0
    for table in ("skills_runs", "skills_run_steps"):
        rows = await database.fetch_all(Statement(f"SELECT tenant, run_id FROM {table}"))
        assert sorted((row["tenant"], row["run_id"]) for row in rows) == [("acme", "b"), ("rival", "a")]


async def test_what_runs_left_in_turns_is_found_by_session_and_skill(runs):
    def ended(run_id, turn_id, **more):
        left = {"turn_id": turn_id, "transcript": f"left by {run_id}", "status": "completed", **more}
        return replace(run(run_id), **left)

    for made in (
        ended("r1", "t1", created_at=NOW + 2),
        ended("r2", "t1", created_at=NOW + 1),
        ended("r3", "t2", skill="other"),
        ended("r4", "t2", session_id="s2"),
        ended("r5", "t2", tenant="rival"),
        ended("r6", "t2", transcript=None),
        ended("r7", "t2"),
        ended("r8", "t3"),
    ):
        await runs.finish(made, begun=False)
    found = await runs.transcripts("acme", "s1", "chat", ["t1", "t2"])
    assert found == [("t2", "left by r7"), ("t1", "left by r2"), ("t1", "left by r1")]
    begun = replace(run("a"), transcript="left by a", status="completed")
    await runs.finish(begun, begun=True)
    assert await runs.transcripts("acme", "s1", "chat", ["t1"]) == [("t1", "left by a"), *found[1:]]
    assert (await runs.find("acme", "a")).transcript == "left by a"
    shown = await KeptRuns(runs).page("acme", KeptDataRequest(session_ids=["s1"]))
    assert "left by r1" in str(shown.items)
    await KeptRuns(runs).forget("acme", OfSessions(session_ids=["s1"]))
    assert await runs.transcripts("acme", "s1", "chat", ["t1", "t2"]) == []


async def test_the_thousandth_turn_of_a_session_reads_what_the_tenth_did(database):
    made = SqlRuns(database)
    rows = [
        replace(run(f"run{number:04}", "long"), turn_id=f"turn{number:04}", transcript="x" * 2000)
        for number in range(1000)
    ]

    async def read_back(last):
        turns = [f"turn{number:04}" for number in range(last - 10, last)]
        times = []
        for _ in range(30):
            begun = time.perf_counter()
            assert len(await made.transcripts("acme", "long", "chat", turns)) == 10
            times.append(time.perf_counter() - begun)
        return min(times)

    for row in rows[:10]:
        await made.finish(row, begun=False)
    tenth = await read_back(10)
    for row in rows[10:]:
        await made.finish(row, begun=False)
    assert await read_back(1000) < 1.2 * tenth + 0.0005


async def test_runs_of_sessions_are_shown_page_by_page(runs, monkeypatch):
    monkeypatch.setattr("signalbox.skills.keeping._PAGE", 1)
    first = await KeptRuns(runs).page("acme", KeptDataRequest(session_ids=["s1"]))
    assert [item["run_id"] for item in first.items] == ["a"]
    assert first.items[0]["request"] == {"message": "hi"}
    assert first.items[0]["steps"][0]["arguments"] == {"what": "x"}
    asked = KeptDataRequest(session_ids=["s1"], after=first.next_after)
    second = await KeptRuns(runs).page("acme", asked)
    assert [item["run_id"] for item in second.items] == ["c"]
    assert (await KeptRuns(runs).page("acme", KeptDataRequest())).items == []
