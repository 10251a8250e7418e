"""Approvals in every shape: a run waits before a write, and the write is made once after a yes, never after a no."""

from typing import Any

import pytest
from support.public_api import PublicApi, new_session
from support.systems import RunningSystem, publish
from support.waiting import eventually

from signalbox_fake_provider import FakeProvider

ANSWER = "It is written."


@pytest.fixture(scope="module")
def careful(admin_client: PublicApi, system: RunningSystem) -> dict[str, Any]:
    """Further members of a query for a workflow whose skill asks before it writes."""
    workflow_id = new_session("wf")
    write = {
        "description": "Writes.",
        "effect": "write",
        "parameters": {"type": "object", "properties": {"what": {"type": "string"}}, "required": ["what"]},
        "request": {
            "method": "POST",
            "url": "{{ vars.backend }}/written",
            "body": {"what": "{{ arguments.what }}"},
        },
    }
    own = {"summary": {"en": "write {{ arguments.what }} down", "zh": "写下 {{ arguments.what }}"}}
    agent = {"mode": "agent", "instructions": "Do it.", "max_steps": 4}
    document = {
        "workflow_id": workflow_id,
        "name": "Careful",
        "languages": ["en", "zh"],
        "variables": {"backend": system.backend.url},
        "intents": [
            {"id": "do", "when": {"patterns": ["^do "]}, "then": {"skill": "doer"}},
            {"id": "lead", "when": {"patterns": ["^lead "]}, "then": {"skill": "leader"}},
            {"id": "hi", "when": {"keywords": ["hi"]}, "then": {"reply": "Hello."}},
        ],
        "skills": [
            {**agent, "id": "doer", "description": "Does.", "tools": ["put", "sign"],
             "approval": {"tools": ["sign"], "by": "operator"}},
            {**agent, "id": "leader", "description": "Leads.", "subtasks": [{"id": "part", "skill": "doer"}]},
        ],
        "tools": [{**write, **own, "id": "put"}, {**write, **own, "id": "sign", "confirm": "never"}],
        "policies": {"confirm_writes": True},
        "llm": {"answer": {"model": "fake-model"}},
    }  # fmt: skip
    publish(admin_client, document)
    return {"workflow_id": workflow_id}


def wants(token: str, tool: str = "put", said: str = "I can do that.") -> list[dict[str, Any]]:
    """The model wants to write, and answers once it has been told what came of it."""
    reply = {"content": said, "tool_calls": [{"name": tool, "arguments": {"what": token}}]}
    return [
        {"match": {"last_user_contains": token, "has_tool_result": False}, "reply": reply},
        {"match": {"last_user_contains": token}, "reply": ANSWER},
    ]


def written(system: RunningSystem, token: str) -> int:
    """How often something was written."""
    return len([item for item in system.backend.received("/written") if token in item.body])


def test_a_yes_makes_the_write_once(
    client: PublicApi, system: RunningSystem, provider: FakeProvider, careful: dict[str, Any]
) -> None:
    token, session = new_session("tok"), new_session()
    provider.script(wants(token))
    asked = client.query(f"do {token}", session, **careful)
    assert (asked["status"], asked["reason"]) == ("waiting", "approval")
    assert asked["message"] == f"I can do that.\n\nShall I go ahead?\n- write {token} down"
    assert [one["value"] for one in asked["parts"][0]["choices"]] == ["yes", "no"]
    assert client.session(session)["workflow_state"]["status"] == "waiting"
    assert written(system, token) == 0
    done = client.query("yes", session, **careful)
    assert (done["status"], done["message"], done["decision"]["stage"]) == ("success", ANSWER, "choice")
    assert written(system, token) == 1
    client.query("yes", session, **careful)
    assert written(system, token) == 1


def test_a_no_is_told_to_the_model(
    client: PublicApi, system: RunningSystem, provider: FakeProvider, careful: dict[str, Any]
) -> None:
    token, session = new_session("tok"), new_session()
    provider.script(wants(token))
    asked = client.query(f"do {token}", session, language="zh", **careful)
    assert asked["message"].endswith(f"确认执行吗？\n- 写下 {token}")
    refused = client.query("不要", session, **careful)
    assert (refused["status"], written(system, token)) == ("success", 0)
    results = [item for item in provider.requests()[-1].body["messages"] if item["role"] == "tool"]
    assert "refused" in results[0]["content"]


def test_another_message_drops_the_write_and_is_answered(
    client: PublicApi, system: RunningSystem, provider: FakeProvider, careful: dict[str, Any]
) -> None:
    token, session = new_session("tok"), new_session()
    provider.script(wants(token))
    client.query(f"do {token}", session, **careful)
    reply = client.query("hi", session, **careful)
    assert reply["message"] == f"I have not done this: write {token} down\n\nHello."
    client.query("yes", session, **careful)
    assert written(system, token) == 0


def test_a_subtask_that_asks_lets_its_parent_wait(
    client: PublicApi, system: RunningSystem, provider: FakeProvider, careful: dict[str, Any]
) -> None:
    token, session = new_session("tok"), new_session()
    lead, part = f"lead {token}", f"part {token}"
    gives = {"tool_calls": [{"name": "subtask_part", "arguments": {"message": part}}]}
    provider.script(
        [
            {"match": {"last_user_contains": lead, "has_tool_result": False}, "reply": gives},
            {"match": {"last_user_contains": lead}, "reply": "Joined."},
            *wants(part),
        ]
    )
    asked = client.query(lead, session, **careful)
    assert (asked["status"], asked["message"]) == ("waiting", f"Shall I go ahead?\n- write {part} down")
    assert client.query("yes", session, **careful)["message"] == "Joined."
    assert written(system, part) == 1


def ended(admin: PublicApi, pause_id: str) -> dict[str, Any]:
    """A paused run, once it has gone on."""

    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = admin.call("GET", f"/api/v1/paused-runs/{pause_id}")
        return found if found["status"] == "done" else None

    return eventually(look, "the run goes on with the decision", 20.0)


def test_an_operator_approves_once_and_the_session_hears_of_it(
    client: PublicApi,
    admin_client: PublicApi,
    other: PublicApi,
    system: RunningSystem,
    provider: FakeProvider,
    careful: dict[str, Any],
) -> None:
    token, session = new_session("tok"), new_session()
    provider.script(wants(token, "sign", said=""))
    asked = client.query(f"do {token}", session, **careful)
    assert (asked["status"], asked["reason"], asked["parts"]) == ("waiting", "approval", [])
    assert "colleague" in asked["message"]
    assert f"write {token} down" in asked["message"]
    assert client.query("hi", session, **careful)["message"] == "Hello.", "the session goes on meanwhile"
    waiting = admin_client.call("GET", "/api/v1/paused-runs", params={"status": "waiting", "limit": 500})
    (mine,) = [item for item in waiting["items"] if item["pause_id"] == asked["pause_id"]]
    assert (mine["reason"], mine["calls"][0]["arguments"]) == ("approval", {"what": token})
    where = f"/api/v1/paused-runs/{asked['pause_id']}/decision"
    assert client.problem("POST", where, json={"decision": "approve"}).status == 403
    assert other.problem("POST", where, json={"decision": "approve"}).status == 404
    unfit = admin_client.problem("POST", where, json={"decision": "happened"})
    assert (unfit.status, unfit.code) == (422, "decision_unfit")
    assert written(system, token) == 0

    taken = admin_client.call("POST", where, json={"decision": "approve", "note": "fine"})
    assert taken["status"] == "decided"
    again = admin_client.problem("POST", where, json={"decision": "refuse"})
    assert (again.status, again.code) == (409, "already_decided")
    done = ended(admin_client, asked["pause_id"])
    assert (done["decision"], done["note"], written(system, token)) == ("approve", "fine", 1)
    assert done["decided_by"] == taken["decided_by"]
    assert client.history(session)[-1] == ("assistant", ANSWER)
    assert client.history(session)[-2] == ("assistant", "Hello.")
    turn = client.call("GET", f"/api/v1/turn/{done['result_turn_id']}")
    assert (turn["status"], turn["reply"]["message"]) == ("committed", ANSWER)
    task = client.call("GET", f"/api/v1/task/{done['task_id']}")
    assert (task["status"], task["result"]["message"]) == ("success", ANSWER)


def test_an_operator_refuses(
    client: PublicApi,
    admin_client: PublicApi,
    system: RunningSystem,
    provider: FakeProvider,
    careful: dict[str, Any],
) -> None:
    token, session = new_session("tok"), new_session()
    provider.script(wants(token, "sign"))
    pause = client.query(f"do {token}", session, **careful)["pause_id"]
    admin_client.call(
        "POST", f"/api/v1/paused-runs/{pause}/decision", json={"decision": "refuse", "note": "too dear"}
    )
    ended(admin_client, pause)
    assert written(system, token) == 0
    results = [item for item in provider.requests()[-1].body["messages"] if item["role"] == "tool"]
    assert "too dear" in results[0]["content"]
    client.call("DELETE", f"/api/v1/session/{session}")
    assert admin_client.problem("GET", f"/api/v1/paused-runs/{pause}").status == 404
