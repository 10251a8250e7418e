"""Skills: an agent with tools on a scripted model, streamed text, and function skills."""

import json
from typing import Any

from support.public_api import PublicApi, new_session, text_of
from support.systems import RunningSystem

from signalbox_fake_provider import FakeProvider

WORDS = "One two three four five six seven eight nine ten."


def _lookup(token: str) -> list[dict[str, Any]]:
    """The model calls ``lookup`` and then answers with words, one at a time."""
    return [
        {
            "match": {"last_user_contains": token, "has_tool_result": False},
            "reply": {"tool_calls": [{"name": "lookup", "arguments": {"word": token}}]},
        },
        {
            "match": {"last_user_contains": token, "has_tool_result": True},
            "reply": {"content": WORDS},
            "chunks": 10,
            "chunk_delay_ms": 40,
        },
    ]


def test_an_agent_calls_a_tool_and_streams_its_answer(
    client: PublicApi, system: RunningSystem, provider: FakeProvider, probe: dict[str, Any]
) -> None:
    token = new_session("tok")
    provider.script(_lookup(token))
    frames = client.stream(f"agent {token}", **probe)
    kinds = [frame.type for frame in frames if frame.type != "usage"]
    assert kinds[:2] == ["start", "intent"]
    assert kinds.index("tool_call") < kinds.index("tool_result") < len(kinds) - 1
    call = next(frame.data for frame in frames if frame.type == "tool_call")
    assert (call["tool"], call["arguments"]) == ("lookup", {"word": token})
    answer = [frame.data["delta"] for frame in frames if frame.type == "text"][1:]
    assert "".join(answer) == WORDS
    assert len(answer) > 2, "text is streamed while the model writes it"
    assert frames[-1].data["message"] == text_of(frames) == f"Welcome.\n\n{WORDS}"
    assert [item.path for item in system.backend.received("/lookup") if token in item.path]
    usage = [frame.data for frame in frames if frame.type == "usage"]
    assert len(usage) == 2
    assert all(item["output_tokens"] > 0 for item in usage)


def test_a_client_addresses_a_skill_past_all_intents(
    client: PublicApi, provider: FakeProvider, probe: dict[str, Any]
) -> None:
    token, session = new_session("tok"), new_session()
    provider.script(_lookup(token))
    frames = client.stream(f"hello {token}", session, skill="helper", **probe)
    intent = next(frame.data for frame in frames if frame.type == "intent")
    assert (intent["stage"], intent["target"]) == ("choice", {"kind": "skill", "id": "helper"})
    assert frames[-1].data["message"] == f"Welcome.\n\n{WORDS}"
    for name in ("leader", "no_such_skill"):
        body = {"message": "hello", "session_id": session, "skill": name, **probe}
        refused = client.problem("POST", "/api/v1/query", json=body)
        assert (refused.status, refused.code) == (422, "skill_not_direct")
        assert [error["pointer"] for error in refused.body["errors"]] == ["/skill"]
    assert len(client.history(session)) == 2, "what was refused left nothing"


def test_the_model_is_told_the_result_and_the_conversation(
    client: PublicApi, provider: FakeProvider, probe: dict[str, Any]
) -> None:
    token, session = new_session("tok"), new_session()
    provider.script(_lookup(token))
    client.query("say hello before", session, **probe)
    client.query(f"agent {token}", session)
    asked = [record.body["messages"] for record in provider.requests() if record.method == "POST"]
    texts = [message.get("content") or "" for message in asked[-1]]
    assert any("hello before" in text for text in texts)
    (result,) = [message for message in asked[-1] if message["role"] == "tool"]
    assert token in result["content"] or "/lookup" in result["content"]


def test_a_later_turn_is_told_what_tools_gave_in_earlier_ones(
    client: PublicApi, provider: FakeProvider, probe: dict[str, Any]
) -> None:
    tokens, session = [new_session("tok") for _ in range(3)], new_session()
    provider.script([rule for token in tokens[:2] for rule in _lookup(token)])
    for token in tokens[:2]:
        client.query(f"agent {token}", session, **probe)
    provider.script([{"match": {"last_user_contains": tokens[2]}, "reply": "As I said."}])
    client.query(f"agent {tokens[2]}", session, **probe)
    [last] = [record.body["messages"] for record in provider.requests() if record.method == "POST"][-1:]
    earlier = [message for message in last if message["role"] != "system"][:-1]
    roles = ["user", "assistant", "tool", "assistant"]
    assert [message["role"] for message in earlier] == roles * 2
    for token, turn in zip(tokens, (earlier[:4], earlier[4:]), strict=False):
        asked, (call,), result, answer = turn[0], turn[1]["tool_calls"], turn[2], turn[3]
        assert asked["content"] == f"agent {token}"
        assert call["function"]["name"] == "lookup"
        assert json.loads(call["function"]["arguments"]) == {"word": token}
        assert result["tool_call_id"] == call["id"]
        assert json.loads(result["content"])["path"] == "/lookup"
        assert answer["content"].endswith(WORDS)
    kept = client.call("GET", f"/api/v1/session/{session}/export")["skill_runs"]
    left = {json.dumps(run.get("transcript")) for run in kept}
    assert len(left) == 3, "two runs have left what the third was told"


def test_a_tool_that_fails_is_told_to_the_model(
    client: PublicApi, provider: FakeProvider, probe: dict[str, Any]
) -> None:
    token = new_session("tok")
    provider.script(
        [
            {
                "match": {"last_user_contains": token, "has_tool_result": False},
                "reply": {"tool_calls": [{"name": "read_status", "arguments": {"code": 500}}]},
            },
            {"match": {"last_user_contains": token}, "reply": "It did not work."},
        ]
    )
    reply = client.query(f"agent {token}", **probe)
    assert (reply["status"], reply["message"]) == ("success", "Welcome.\n\nIt did not work.")
    last = provider.requests()[-1].body["messages"][-1]
    assert last["role"] == "tool"
    assert "500" in last["content"]


def test_unknown_tools_and_bad_arguments_do_not_end_a_run(
    client: PublicApi, provider: FakeProvider, probe: dict[str, Any]
) -> None:
    token = new_session("tok")
    calls = [
        {"name": "no_such_tool", "arguments": {}},
        {"name": "lookup", "arguments": "{not json"},
        {"name": "lookup", "arguments": {"wrong": 1}},
    ]
    provider.script(
        [
            {
                "match": {"last_user_contains": token, "has_tool_result": False},
                "reply": {"tool_calls": calls},
            },
            {"match": {"last_user_contains": token}, "reply": "Let me say it myself."},
        ]
    )
    reply = client.query(f"agent {token}", **probe)
    assert reply["message"].endswith("Let me say it myself.")
    results = [item for item in provider.requests()[-1].body["messages"] if item["role"] == "tool"]
    assert len(results) == len(calls), "every call is answered, or the provider refuses the conversation"


def test_a_model_that_never_ends_is_stopped_at_max_steps(
    client: PublicApi, provider: FakeProvider, probe: dict[str, Any]
) -> None:
    token = new_session("tok")
    again = {"tool_calls": [{"name": "lookup", "arguments": {"word": token}}]}
    provider.script([{"match": {"last_user_contains": token}, "reply": again}])
    session = new_session()
    reply = client.query(f"agent {token}", session, **probe)
    assert len([record for record in provider.requests() if record.method == "POST"]) <= 5
    assert reply["message"]
    assert client.history(session)[-1] == ("assistant", reply["message"])


def test_a_writing_tool_of_an_agent_writes_once(
    client: PublicApi, system: RunningSystem, provider: FakeProvider, probe: dict[str, Any]
) -> None:
    token = new_session("tok")
    provider.script(
        [
            {
                "match": {"last_user_contains": token, "has_tool_result": False},
                "reply": {"tool_calls": [{"name": "write", "arguments": {"what": token}}]},
            },
            {"match": {"last_user_contains": token}, "reply": "Written."},
        ]
    )
    reply = client.query(f"agent {token}", **probe)
    assert reply["message"].endswith("Written.")
    (sent,) = [item for item in system.backend.received("/written") if token in item.body]
    assert reply["turn_id"] in sent.headers["idempotency-key"]


def test_a_provider_that_fails_is_a_committed_turn(
    client: PublicApi, provider: FakeProvider, probe: dict[str, Any]
) -> None:
    provider.script([{"fault": {"status": 500}}])
    session = new_session()
    reply = client.query("agent are you there", session, **probe)
    assert reply["status"] in {"error", "degraded"}
    assert reply["reason"]
    assert client.history(session)[-1] == ("assistant", reply["message"])


def test_a_function_skill_answers_without_a_model(
    client: PublicApi, system: RunningSystem, provider: FakeProvider, probe: dict[str, Any]
) -> None:
    token = new_session("fn")
    reply = client.query(f"function {token}", **probe)
    assert reply["message"].endswith("The function was asked by POST.")
    assert [item.body for item in system.backend.received("/function") if token in item.body]
    assert "A parcel to France" in client.query("how long does delivery to France take?")["message"]
    assert provider.requests() == []


def test_the_example_answers_through_model_and_backend(client: PublicApi, provider: FakeProvider) -> None:
    token = new_session("tok")
    provider.script(
        [
            {
                "match": {"last_user_contains": token, "has_tool_result": False},
                "reply": {"tool_calls": [{"name": "get_order", "arguments": {"order_number": 1042}}]},
            },
            {"match": {"last_user_contains": token}, "reply": "It is on its way."},
        ]
    )
    frames = client.stream(f"my tent arrived damaged {token}")
    result = next(frame.data for frame in frames if frame.type == "tool_result")
    assert (result["tool"], result["ok"]) == ("get_order", True)
    assert result["output"]["order_number"] == 1042
    assert frames[-1].data["message"].endswith("It is on its way.")
