"""Runs of sessions, shown and forgotten, on both databases."""

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
