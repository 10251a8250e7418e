"""kill -9 between a person's decision and the write: the write is neither lost nor made twice."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.keyed_backend import KeyedBackend
from support.public_api import PublicApi, new_session
from support.systems import READY_S, publish
from support.waiting import eventually

from signalbox_fake_provider import FakeProvider
from signalbox_local import ServicesStack

pytestmark = pytest.mark.faults

ANSWER = "It is written."


@pytest.fixture
def backend() -> Iterator[KeyedBackend]:
    """What the run writes to; it honours keys."""
    with KeyedBackend(honours_keys=True) as running:
        yield running


def _document(backend: KeyedBackend, workflow: str, by: str, *, idempotent: bool = True) -> dict[str, Any]:
    write = {
        "id": "put",
        "description": "Writes.",
        "effect": "write",
        "idempotent": idempotent,
        "request": {"method": "POST", "url": "{{ vars.backend }}/write", "body": {}},
        "timeout_ms": 25_000,
    }
    skill = {"id": "doer", "mode": "agent", "instructions": "Do it.", "tools": ["put"],
             "approval": {"tools": ["put"], "by": by}}  # fmt: skip
    return {
        "workflow_id": workflow,
        "name": "Doer",
        "variables": {"backend": backend.url},
        "intents": [{"id": "do", "when": {"patterns": ["^do "]}, "then": {"skill": "doer"}}],
        "skills": [skill],
        "tools": [write],
        "llm": {"answer": {"model": "fake-model"}},
    }


def _script(token: str) -> list[dict[str, Any]]:
    match = {"last_user_contains": token}
    return [
        {
            "match": {**match, "has_tool_result": False},
            "reply": {"tool_calls": [{"name": "put", "arguments": {}}]},
        },
        {"match": match, "reply": ANSWER},
    ]


def _is_done(operator: PublicApi, pause_id: str) -> bool:
    found: dict[str, Any] = operator.call("GET", f"/api/v1/paused-runs/{pause_id}")
    return found["status"] == "done"


def test_skills_is_killed_after_the_users_yes(
    stack: ServicesStack, user: PublicApi, model: FakeProvider, backend: KeyedBackend
) -> None:
    token, session = new_session("tok"), new_session()
    workflow = f"doer-{token}"
    publish(user, _document(backend, workflow, "user"))
    model.script(_script(token))
    assert user.query(f"do {token}", session, workflow_id=workflow)["status"] == "waiting"
    stack.service("skills").kill()
    stack.service("skills").start(READY_S)
    held = backend.hold("/write")
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(user.query, "yes", session, workflow_id=workflow)
        backend.wait_for("/write")
        stack.service("skills").kill()
        held.set()
        stack.service("skills").start(READY_S)
        reply = asked.result(40)
    assert (reply["status"], reply["message"]) == ("success", ANSWER)
    assert backend.effects == {"/write": 1}


@pytest.mark.parametrize("victim", ["skills", "workflow"])
def test_a_service_is_killed_after_the_operators_decision(
    stack: ServicesStack, user: PublicApi, model: FakeProvider, backend: KeyedBackend, victim: str
) -> None:
    token, session = new_session("tok"), new_session()
    workflow = f"doer-{token}"
    publish(user, _document(backend, workflow, "operator"))
    model.script(_script(token))
    pause_id = user.query(f"do {token}", session, workflow_id=workflow)["pause_id"]
    held = backend.hold("/write")
    user.call("POST", f"/api/v1/paused-runs/{pause_id}/decision", json={"decision": "approve"})
    backend.wait_for("/write")
    stack.service(victim).kill()
    held.set()
    stack.service(victim).start(READY_S)
    eventually(lambda: _is_done(user, pause_id), "the run goes on in another attempt", 60.0)
    assert backend.effects == {"/write": 1}
    assert user.history(session)[-1] == ("assistant", ANSWER)
    assert [text for _, text in user.history(session)].count(ANSWER) == 1


def test_an_operator_settles_a_write_of_unknown_outcome(
    stack: ServicesStack, user: PublicApi, model: FakeProvider, backend: KeyedBackend
) -> None:
    token, session = new_session("tok"), new_session()
    workflow = f"doer-{token}"
    publish(user, _document(backend, workflow, "user", idempotent=False))
    model.script(_script(token))
    user.query(f"do {token}", session, workflow_id=workflow)
    held = backend.hold("/write")
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(user.query, "yes", session, workflow_id=workflow)
        backend.wait_for("/write")
        stack.service("skills").kill()
        held.set()
        stack.service("skills").start(READY_S)
        reply = asked.result(40)
    assert (reply["status"], reply["reason"]) == ("waiting", "unknown_outcome")
    body = {"decision": "happened", "output": {"path": "/write"}}
    user.call("POST", f"/api/v1/paused-runs/{reply['pause_id']}/decision", json=body)
    eventually(lambda: _is_done(user, reply["pause_id"]), "the run goes on", 30.0)
    assert (backend.effects, backend.requests) == ({"/write": 1}, {"/write": 1})
    assert user.history(session)[-1] == ("assistant", ANSWER)
