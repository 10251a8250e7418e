"""kill -9 of Skills at each of five steps, two of which write: the run goes on, and each write is made once."""

import json
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

PATHS = ["/read-1", "/write-1", "/read-2", "/write-2"]
ANSWER = "Both were written."


@pytest.fixture(params=[True, False], ids=["honours keys", "honours none"])
def backend(request: pytest.FixtureRequest) -> Iterator[KeyedBackend]:
    """What the run writes to."""
    with KeyedBackend(honours_keys=request.param) as running:
        yield running


def _document(backend: KeyedBackend, workflow: str, *, idempotent: bool) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]}
    url = "{{ vars.backend }}/{{ arguments.at }}"
    read = {"id": "look", "description": "Reads.", "parameters": parameters, "request": {"url": url}}
    write = {
        "id": "put",
        "description": "Writes.",
        "parameters": parameters,
        "effect": "write",
        "idempotent": idempotent,
        "request": {"method": "POST", "url": url, "body": {}},
        "timeout_ms": 25_000,
    }
    skill = {
        "id": "doer",
        "mode": "agent",
        "description": "Does.",
        "instructions": "Do it.",
        "tools": ["look", "put"],
        "max_steps": 6,
    }
    return {
        "workflow_id": workflow,
        "name": "Doer",
        "variables": {"backend": backend.url},
        "intents": [{"id": "do", "when": {"patterns": ["^do "]}, "then": {"skill": "doer"}}],
        "skills": [skill],
        "tools": [read, write],
        "llm": {"answer": {"model": "fake-model"}},
    }


def _script(token: str, first: int, *, slow_end: bool = False) -> list[dict[str, Any]]:
    """The model's answers from step ``first`` (1 to 5) on, each given once."""
    match = {"last_user_contains": token}
    asks = [
        {"tool_calls": [{"name": "put" if "write" in path else "look", "arguments": {"at": path[1:]}}]}
        for path in PATHS
    ]
    rules: list[dict[str, Any]] = [{"match": match, "reply": reply, "times": 1} for reply in asks]
    end: dict[str, Any] = {"match": match, "reply": {"content": ANSWER}}
    if slow_end:
        end |= {"chunks": 3, "chunk_delay_ms": 5_000}
    return [*rules, end][first - 1 :]


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("backend", [True], ids=["honours keys"], indirect=True)
def test_a_run_goes_on_and_each_write_is_made_once(
    stack: ServicesStack, user: PublicApi, model: FakeProvider, backend: KeyedBackend, step: int
) -> None:
    token = new_session("tok")
    publish(user, _document(backend, f"doer-{token}", idempotent=True))
    model.script(_script(token, 1, slow_end=step == 5))
    held = backend.hold(PATHS[step - 1]) if step < 5 else None
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(user.query, f"do {token}", workflow_id=f"doer-{token}")
        if held is not None:
            backend.wait_for(PATHS[step - 1])
        else:
            eventually(lambda: len(model.requests()) == 5, "the model is asked for the answer", 20.0)
        stack.service("skills").kill()
        # A write that was under way is repeated without the model being asked for it again.
        model.script(_script(token, {1: 1, 2: 3, 3: 3, 4: 5, 5: 5}[step]))
        if held is not None:
            held.set()
        stack.service("skills").start(READY_S)
        reply = asked.result(40)
    assert (reply["status"], reply["message"]) == ("success", ANSWER)
    assert backend.effects == {"/write-1": 1, "/write-2": 1}
    assert backend.requests["/write-1"] == (2 if step == 2 else 1)
    assert backend.requests["/write-2"] == (2 if step == 4 else 1)
    session = str(reply["session_id"])
    later = new_session("tok")
    model.script([{"match": {"last_user_contains": later}, "reply": "As I said."}])
    user.query(f"do {later}", session, workflow_id=f"doer-{token}")
    told = [message for message in model.requests()[-1].body["messages"] if message["role"] != "system"]
    assert [message["role"] for message in told] == ["user", *["assistant", "tool"] * 4, "assistant", "user"]
    calls = [call for message in told for call in message.get("tool_calls") or ()]
    assert [call["id"] for call in calls] == [one["tool_call_id"] for one in told if one["role"] == "tool"]
    assert [json.loads(call["function"]["arguments"])["at"] for call in calls] == [path[1:] for path in PATHS]


@pytest.mark.parametrize("backend", [False], ids=["honours none"], indirect=True)
def test_a_write_that_may_not_be_repeated_pauses_the_run(
    stack: ServicesStack, user: PublicApi, model: FakeProvider, backend: KeyedBackend
) -> None:
    token = new_session("tok")
    publish(user, _document(backend, f"doer-{token}", idempotent=False))
    model.script(_script(token, 1))
    held = backend.hold("/write-1")
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(user.query, f"do {token}", workflow_id=f"doer-{token}")
        backend.wait_for("/write-1")
        stack.service("skills").kill()
        held.set()
        stack.service("skills").start(READY_S)
        reply = asked.result(40)
    assert (reply["status"], reply["reason"]) == ("waiting", "unknown_outcome")
    assert "cannot tell" in reply["message"]
    assert backend.effects == {"/write-1": 1}
    assert backend.requests["/write-2"] == 0
