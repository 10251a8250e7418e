"""Secrets and messages do not leak: every store, log and span file is searched for planted values."""

from typing import Any

import pytest
from support.public_api import PublicApi, new_session
from support.spans import spans_of
from support.systems import RunningSystem, publish, shop_document
from support.waiting import eventually

from signalbox_fake_provider import FakeProvider


@pytest.fixture(scope="module")
def said(client: PublicApi, admin_client: PublicApi, system: RunningSystem) -> str:
    """A text in messages of every kind of turn, so that everything has had the chance to write it somewhere."""
    mark = new_session("whisper")
    system.provider.script(
        [
            {
                "match": {"last_user_contains": mark, "has_tool_result": False},
                "reply": {"tool_calls": [{"name": "get_order", "arguments": {"order_number": 1042}}]},
            },
            {"match": {"last_user_contains": mark}, "reply": f"I heard {mark}."},
        ]
    )
    session = new_session()
    client.query(f"where is my order 1042? {mark}", session)
    client.query(f"my tent arrived damaged {mark}", session)
    client.stream(f"how long does delivery to France take? {mark}", session)
    client.query(f"read status 500 {mark}", workflow_id="probe")
    client.query(f"say {mark}", workflow_id="probe")
    client.query(f"write {mark}", workflow_id="probe")
    client.http.post("/api/v1/query", json={"message": mark, "session_id": session, mark: 1})
    client.http.post("/api/v1/query", content=f'{{"{mark}')
    client.call(
        "POST",
        "/llm/v1/chat/completions",
        json={"model": "fake-model", "messages": [{"role": "user", "content": mark}]},
    )
    system.provider.script([{"fault": {"status": 500, "message": f"refused: {mark}"}}])
    client.query(f"agent {mark}", workflow_id="probe")
    client.query(f"nothing that a rule knows {mark}")
    system.marks["last trace"] = client.query(f"agent again {mark}", workflow_id="probe")["trace_id"]
    publish(admin_client, shop_document())
    system.provider.reset()
    eventually(lambda: system.stores.places_of(mark), "the messages are stored")
    eventually(lambda: _traced(system) >= {"workflow", "skills", "llm_gateway"}, "the last spans are written")
    return mark


def test_messages_are_in_the_database_alone(system: RunningSystem, said: str) -> None:
    for log in system.logs:
        if log.stem not in {"fake-provider", "shop"}:
            assert said not in log.read_text(errors="replace"), f"{log.name} has the text of a message"
    for file in system.traces.glob("*.jsonl"):
        assert said not in file.read_text(errors="replace"), f"{file.name} has the text of a message"


def test_every_process_logs_json(system: RunningSystem, said: str) -> None:
    assert said
    found = {log.stem for log in system.logs}
    assert "signalbox" in found or {"workflow-0", "workflow-1", "admin-0"} <= found


@pytest.mark.parametrize("name", ["provider key", "shop token", "user key", "operator key", "service secret"])
def test_a_secret_is_nowhere(system: RunningSystem, said: str, name: str, request: Any) -> None:
    assert said
    value = _values(system)[name]
    places = system.stores.places_of(value)
    if name == "service secret":
        # One process makes its own and keeps it, readable to itself, beside its data.
        places = [place for place in places if place != "service-secret"]
    places += [log.name for log in system.logs if value in log.read_text(errors="replace")]
    places += [file.name for file in system.traces.glob("*") if value in file.read_text(errors="replace")]
    assert places == []


def test_the_provider_and_the_backend_did_get_theirs(
    client: PublicApi, system: RunningSystem, provider: FakeProvider
) -> None:
    """The values searched for are those in use: else finding them nowhere says nothing."""
    client.call(
        "POST",
        "/llm/v1/chat/completions",
        json={"model": "fake-model", "messages": [{"role": "user", "content": "hello"}]},
    )
    sent = provider.requests()[-1].headers["authorization"]
    assert sent == f"Bearer {system.secret_values['provider key']}"
    assert "Order 1042" in client.query("where is my order 1042?")["message"]


def _traced(system: RunningSystem) -> set[str]:
    """Services whose spans of the last query are in their files, and so those of all before."""
    return {span.service for span in spans_of(system.traces, system.marks["last trace"])}


def _values(system: RunningSystem) -> dict[str, str]:
    environment = system.local.environment()
    secret = environment.get("SIGNALBOX_SERVICE_SECRET")
    if secret is None:
        (file,) = system.local.directory.glob("data/service-secret")
        secret = file.read_text().strip()
    keys = {
        # What is stored of a key is a hash of its secret part.
        "user key": system.secret_values["user key"].rsplit("_", 1)[1],
        "operator key": system.operators["acme"].rsplit("_", 1)[1],
    }
    return {**system.secret_values, **keys, "service secret": secret}
