"""Approvals in every shape: a run waits before a write, and the write is made once after a yes, never after a no."""

from typing import Any

import pytest
from support.public_api import PublicApi, new_session
from support.systems import RunningSystem, publish

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
