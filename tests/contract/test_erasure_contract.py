"""Forgetting: a text planted in a conversation is nowhere once its session is deleted, or its user erased."""

import json
import secrets
import sqlite3
from typing import Any

import pytest
from support.public_api import PublicApi, new_session
from support.systems import RunningSystem, publish
from support.waiting import eventually

from signalbox_fake_provider import FakeProvider


def document(workflow_id: str, backend: str) -> dict[str, Any]:
    """A workflow that leaves what was said in every place where it can be left."""
    parameters = {"type": "object", "properties": {"what": {"type": "string"}}}
    request = {"url": f"{backend}/status/200", "query": {"what": "{{ arguments.what }}"}}
    what = {"what": {"type": "text"}}
    return {
        "workflow_id": workflow_id,
        "name": "Talkative",
        "intents": [
            {
                "id": "name",
                "when": {"patterns": [r"^i am (?P<name>\S+)$"]},
                "then": {"action": "remember"},
                "parameters": {"name": {"type": "text"}},
            },
            {
                "id": "look",
                "when": {"patterns": [r"^look up (?P<what>\S+)$"]},
                "then": {"tool": "look"},
                "parameters": what,
            },
            {
                "id": "ask",
                "when": {"patterns": [r"^ask about (?P<what>\S+)$"]},
                "then": {"flow": "ask"},
                "parameters": what,
            },
            {"id": "chat", "when": {"keywords": ["tell me"]}, "then": {"skill": "chat"}},
        ],
        "flows": [
            {
                "id": "ask",
                "slots": [{"id": name, "type": "text", "prompt": f"{name}?"} for name in ("what", "why")],
                "steps": [
                    {"type": "ask", "slot": "what"},
                    {"type": "ask", "slot": "why"},
                    {"type": "reply", "text": "Because of {{ slots.why }}."},
                ],
            }
        ],
        "skills": [
            {"id": "chat", "mode": "agent", "instructions": "Chat.", "tools": ["note"], "max_steps": 3}
        ],
        "tools": [
            {"id": "look", "description": "Look.", "parameters": parameters, "request": request},
            {
                "id": "note",
                "description": "Note something down.",
                "effect": "write",
                "parameters": parameters,
                "request": {**request, "method": "POST"},
            },
        ],
        "actions": [REMEMBER],
        "timers": [{"id": "later", "delay_seconds": 3600, "reply": "Still there?"}],
    }


REMEMBER = {
    "id": "remember",
    "type": "update_profile",
    "profile": {"name": "{{ parameters.name }}"},
    "reply": "Hello {{ parameters.name }}.",
    "webhook": {
        "url": "http://127.0.0.1:1/hook",
        "secret": "secret:shop-token",
        "payload": {"name": "{{ parameters.name }}"},
    },
}


@pytest.fixture(scope="module")
def talkative(admin_client: PublicApi, system: RunningSystem) -> dict[str, Any]:
    """Further members of a query for that workflow."""
    workflow_id = new_session("wf")
    publish(admin_client, document(workflow_id, system.backend.url))
    return {"workflow_id": workflow_id}


def plant(
    api: PublicApi, provider: FakeProvider, talkative: dict[str, Any], user: str | None = None
) -> tuple[str, str, str]:
    """A conversation with a word in every part of it: its session, the word, and the id of its streamed turn."""
    word, session = f"planted{secrets.token_hex(6)}", new_session()
    more = {**talkative, **({"user_id": user} if user is not None else {})}
    call = {"name": "note", "arguments": {"what": word}}
    rules = [
        {"match": {"last_user_contains": word, "has_tool_result": False}, "reply": {"tool_calls": [call]}},
        {"match": {"last_user_contains": word}, "reply": {"content": f"Noted: {word}."}},
    ]
    provider.script(rules)
    api.query(f"i am {word}", session, key=f"key-{word}", **more)
    api.query(f"look up {word}", session, **more)
    answer = api.query(f"tell me of {word}", session, **more)
    assert answer["message"] == f"Noted: {word}.", "the model has called the tool and answered"
    frames = api.stream(f"tell me more of {word}", session, **more)
    api.query(f"ask about {word}", session, **more)
    provider.reset()
    return session, word, str(frames[0].data["turn_id"])


def places(system: RunningSystem, word: str) -> list[str]:
    """Where a word is: every table, every key of the cache, every file and log of every process."""
    found = system.stores.places_of(word)
    return found + [str(log) for log in system.logs if word.encode() in log.read_bytes()]


def compact(system: RunningSystem) -> None:
    """Let SQLite give back the pages of deleted rows: they are overwritten, not read by anybody."""
    for file in sorted(system.local.directory.rglob("*.db")):
        with sqlite3.connect(file) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()


def test_a_deleted_session_is_nowhere(
    client: PublicApi, system: RunningSystem, provider: FakeProvider, talkative: dict[str, Any]
) -> None:
    session, word, turn_id = plant(client, provider, talkative)
    before = places(system, word)
    for table in ("turns", "sessions", "outbox", "idempotency"):
        assert any("workflow" in place for place in before), (table, before)
    assert any("skills" in place for place in before), before
    client.call("DELETE", f"/api/v1/session/{session}")
    assert client.problem("GET", f"/api/v1/turn/{turn_id}/events").status == 404
    compact(system)
    assert places(system, word) == []


def test_an_erased_user_is_nowhere_and_the_money_stays(
    admin_client: PublicApi, system: RunningSystem, provider: FakeProvider, talkative: dict[str, Any]
) -> None:
    user, bystander = f"user-{secrets.token_hex(6)}", f"user-{secrets.token_hex(6)}"
    planted = [plant(admin_client, provider, talkative, user) for _ in range(2)]
    session, kept_word, _ = plant(admin_client, provider, talkative, bystander)
    calls = system.stores.count("llm_gateway", "ledger_calls")
    exported = json.dumps(admin_client.call("GET", f"/api/v1/users/{user}/export"))
    for own_session, word, _ in planted:
        assert own_session in exported
        assert exported.count(word) > 10
    assert kept_word not in exported
    erased = admin_client.call("DELETE", f"/api/v1/users/{user}")
    assert erased == {"status": "erased", "sessions": 2}
    compact(system)
    for own_session, word, _ in planted:
        assert places(system, word) == []
        assert admin_client.problem("GET", f"/api/v1/session/{own_session}").status == 404
    assert user not in str(system.stores.rows("llm_gateway", "ledger_calls"))
    assert bystander in str(system.stores.rows("llm_gateway", "ledger_calls"))
    assert system.stores.count("llm_gateway", "ledger_calls") >= calls
    assert admin_client.session(session, user_id=bystander)["message_count"] == 10
    found = admin_client.call("GET", "/api/v1/sessions", params={"text": kept_word})
    assert [entry["session_id"] for entry in found["sessions"]] == [session]


def test_a_session_is_exported_whole(
    client: PublicApi, provider: FakeProvider, talkative: dict[str, Any]
) -> None:
    session, word, _ = plant(client, provider, talkative)
    exported = client.call("GET", f"/api/v1/session/{session}/export")
    assert [turn["seq"] for turn in exported["turns"]] == [1, 2, 3, 4, 5]
    assert exported["session"]["state"]["profile"] == {"name": word}
    assert exported["session"]["state"]["flow"]["slots"]["what"] == word
    assert len(exported["skill_runs"]) == 2
    assert exported["skill_runs"][0]["steps"][0]["arguments"] == {"what": word}
    eventually(
        lambda: len(client.call("GET", f"/api/v1/session/{session}/export")["model_calls"]) == 4,
        "the ledger has all calls of models",
        10.0,
    )
