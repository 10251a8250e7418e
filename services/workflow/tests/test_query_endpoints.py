"""The public query API over HTTP, without a socket."""

import asyncio
import json

import pytest
from support.apps import SERVICE_SECRET, caller, service_app
from support.workflow_stage import CONFIG, Gate, flow_result

from signalbox.common.auth import ServiceTokens, create_key
from signalbox.common.context import current_deadline
from signalbox.common.errors import Unavailable
from signalbox.common.ids import now_ms
from signalbox.common.kept_files import KeptFiles
from signalbox.common.rules import DEFAULT_MEMORY
from signalbox.contracts.identity import KeyRecord, Scope
from signalbox.workflow import endpoints, sse
from signalbox.workflow.build import Builder

ASK = {"message": "are you open?", "session_id": "s1"}


def record(key, tenant="acme", scopes=(Scope.QUERY,)):
    return KeyRecord(
        key_id=key.key_id,
        tenant=tenant,
        name="k",
        secret_sha256=key.secret_sha256,
        scopes=frozenset(scopes),
        created_at=now_ms(),
    )


@pytest.fixture
def app(stage, tmp_path):
    made = service_app(endpoints.public, endpoints.internal, name="workflow", max_body_bytes=1_048_576)
    made.state.settings = stage.settings
    made.state.queries = stage.queries
    made.state.events = stage.events
    made.state.views = stage.views
    made.state.builder = Builder(DEFAULT_MEMORY, 60, KeptFiles(tmp_path, 2**20))
    return made


@pytest.fixture
async def http(app):
    key = create_key()
    app.state.authenticator.keys.replace([record(key)])
    async with caller(app) as client:
        client.headers["authorization"] = f"Bearer {key.key}"
        yield client


def frames(text):
    """The events of an SSE body: (id, event)."""
    found = []
    for block in text.split("\n\n"):
        if not block or block.startswith(":"):
            continue
        first, second = block.split("\n")
        assert first.startswith("id: ")
        assert second.startswith("data: ")
        found.append((int(first[4:]), json.loads(second[6:])))
    return found


async def test_a_query_is_answered(http):
    answer = await http.post("/api/v1/query", json=ASK)
    assert answer.status_code == 200
    body = answer.json()
    assert (body["session_id"], body["status"], body["message"]) == (
        "s1",
        "success",
        "Hello!\n\nFrom 9 to 17.",
    )
    assert body["turn_id"].startswith("turn_")


async def test_a_stream_is_numbered_frames_without_an_event_name(http):
    answer = await http.post("/api/v1/query/stream", json=ASK)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    events = frames(answer.text)
    assert [number for number, _ in events] == [1, 2, 3, 4]
    assert [event["type"] for _, event in events] == ["start", "intent", "text", "complete"]
    assert events[0][1]["data"]["turn_id"] == answer.headers["signalbox-turn-id"]
    assert all(set(event) == {"type", "data"} for _, event in events)


@pytest.mark.parametrize("header", ["2", "0", None, "x", "²", "9" * 400])
async def test_a_stream_is_resumed_after_the_last_event_that_was_seen(http, header):
    whole = await http.post("/api/v1/query/stream", json=ASK)
    path = f"/api/v1/turn/{whole.headers['signalbox-turn-id']}/events"
    headers = {} if header is None else {"last-event-id": header.encode("latin-1")}
    answer = await http.get(path, headers=headers)
    skipped = 2 if header == "2" else 0
    assert frames(answer.text) == frames(whole.text)[skipped:]
    by_query = await http.get(path, params={"after": 3})
    assert frames(by_query.text) == frames(whole.text)[3:]


async def test_a_stream_whose_turn_fails_ends_with_the_problem_in_band(http, stage):
    stage.flows.answers = [KeyError("bug")]
    answer = await http.post("/api/v1/query/stream", json={**ASK, "message": "refund"})
    assert answer.status_code == 200
    last = frames(answer.text)[-1][1]
    assert (last["type"], last["data"]["code"], last["data"]["status"]) == ("error", "internal_error", 500)


async def test_a_repeated_stream_is_its_complete_event(http):
    headers = {"idempotency-key": "k1"}
    first = await http.post("/api/v1/query/stream", json=ASK, headers=headers)
    again = await http.post("/api/v1/query/stream", json=ASK, headers=headers)
    [(number, event)] = frames(again.text)
    assert (number, event) == (1, frames(first.text)[-1][1])
    other = await http.post("/api/v1/query/stream", json={**ASK, "message": "no"}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_a_stream_has_five_minutes_unless_the_client_says_otherwise(http, stage):
    seen = []

    def note(request):
        seen.append(current_deadline().remaining())
        return flow_result()

    stage.flows.answers = [note]
    body = {**ASK, "message": "where is order 1?"}
    await http.post("/api/v1/query/stream", json=body)
    await http.post("/api/v1/query/stream", json=body, headers={"signalbox-timeout-ms": "7000"})
    await http.post("/api/v1/query", json=body)
    assert [round(seconds, -1) if seconds > 10 else round(seconds) for seconds in seen] == [300, 7, 30]


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({"session_id": "s"}, "/message", "missing_field"),
        ({"message": "x"}, "/session_id", "missing_field"),
        ({**ASK, "mesage": "x"}, "/mesage", "unknown_field"),
        ({**ASK, "message": ""}, "/message", "too_short"),
        ({**ASK, "message": "x" * 100_001}, "/message", "too_long"),
        ({**ASK, "session_id": "a\u0000b"}, "/session_id", "bad_value"),
        ({**ASK, "language": "English"}, "/language", "bad_value"),
        ({**ASK, "metadata": {"a": ["\ud800"]}}, "/metadata", "bad_value"),
    ],
)
async def test_what_is_wrong_in_a_query_is_pointed_at_and_nothing_is_stored(http, stage, body, pointer, code):
    for path in ("/api/v1/query", "/api/v1/query/stream"):
        answer = await http.post(path, content=json.dumps(body), headers={"content-type": "application/json"})
        assert answer.status_code == 422
        assert {(e["pointer"], e["code"]) for e in answer.json()["errors"]} == {(pointer, code)}
    assert await stage.turns() == []


async def test_text_that_no_column_can_hold_is_refused_and_nothing_is_stored(http, stage):
    answer = await http.post("/api/v1/query", json={**ASK, "message": "are you open?\u0000"})
    assert (answer.status_code, answer.json()["code"]) == (400, "not_storable")
    assert await stage.turns() == []


async def test_a_session_its_messages_and_its_end(http):
    await http.post("/api/v1/query", json=ASK)
    shown = (await http.get("/api/v1/session/s1")).json()
    assert (shown["message_count"], shown["workflow_state"]["need_greeting"]) == (2, False)
    assert (await http.delete("/api/v1/session/s1")).json() == {"status": "deleted"}
    for method in ("GET", "DELETE"):
        answer = await http.request(method, "/api/v1/session/s1")
        assert (answer.status_code, answer.json()["code"]) == (404, "session_not_found")


async def test_a_turn_is_shown_rated_and_cancelled(http, stage):
    gate = Gate()
    stage.flows.answers = [gate, flow_result()]
    asking = asyncio.create_task(http.post("/api/v1/query/stream", json={**ASK, "message": "refund"}))
    await asyncio.wait_for(gate.reached.wait(), 5)
    [row] = await stage.turns()
    path = f"/api/v1/turn/{row['turn_id']}"
    assert (await http.get(path)).json()["status"] == "running"
    assert (await http.post(f"{path}/cancel")).status_code == 200
    assert frames((await asking).text)[-1][1]["data"]["code"] == "turn_cancelled"
    assert (await http.get(path)).json()["status"] == "cancelled"
    assert (await http.post(f"{path}/feedback", json={"thumb": "up"})).status_code == 204
    assert (await http.post(f"{path}/feedback", json={"thumb": "sideways"})).status_code == 422
    assert (await http.get("/api/v1/turn/turn_none/events")).json()["code"] == "turn_not_found"


async def test_who_may_read_the_turns_of_others_may_not_change_them(http, app):
    whole = await http.post("/api/v1/query/stream", json=ASK)
    path = f"/api/v1/turn/{whole.headers['signalbox-turn-id']}"
    reader = create_key()
    readers = record(reader, "acme", [Scope.QUERY, Scope.SESSIONS_READ])
    app.state.authenticator.keys.replace([readers])
    http.headers["authorization"] = f"Bearer {reader.key}"
    assert (await http.get(path)).status_code == 200
    for change in ("cancel", "feedback"):
        answer = await http.post(f"{path}/{change}", json={"thumb": "down"})
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), change


async def test_another_tenant_finds_nothing(http, app):
    whole = await http.post("/api/v1/query/stream", json=ASK)
    turn_id = whole.headers["signalbox-turn-id"]
    rival = create_key()
    app.state.authenticator.keys.replace([record(rival, "rival", [Scope.QUERY, Scope.SESSIONS_READ])])
    http.headers["authorization"] = f"Bearer {rival.key}"
    for method, path in (
        ("GET", "/session/s1"),
        ("DELETE", "/session/s1"),
        ("GET", f"/turn/{turn_id}"),
        ("GET", f"/turn/{turn_id}/events"),
        ("POST", f"/turn/{turn_id}/cancel"),
    ):
        answer = await http.request(method, f"/api/v1{path}")
        assert answer.status_code == 404, (method, path)
        assert "are you open" not in answer.text


async def test_health_says_more_to_those_who_are_known(http, stage):
    known = (await http.get("/api/v1/health")).json()
    assert known == {
        "status": "healthy",
        "config_hash": stage.releases.release("acme", None).config_hash,
        "sessions_count": 0,
    }
    del http.headers["authorization"]
    assert (await http.get("/api/v1/health")).json() == {"status": "healthy"}


async def test_building_is_for_services(http):
    body = {"tenant": "acme", "config_hash": "0" * 64, "document": json.dumps(CONFIG)}
    assert (await http.post("/internal/v1/workflow/build", json=body)).status_code == 403
    http.headers["authorization"] = f"Bearer {ServiceTokens(SERVICE_SECRET, 'admin').mint('workflow')}"
    built = (await http.post("/internal/v1/workflow/build", json=body)).json()
    assert built["report"] == {"rules": 8}


async def test_a_quiet_stream_is_kept_open_with_comments(monkeypatch):
    monkeypatch.setattr(sse, "_HEARTBEAT_S", 0.01)
    go_on = asyncio.Event()

    async def events():
        yield 1, b"{}"
        await go_on.wait()
        yield None
        yield 2, b"{}"

    stream = sse.with_heartbeats(events())
    received = [await anext(stream), await anext(stream), await anext(stream)]
    go_on.set()
    received += [frame async for frame in stream]
    assert received[:3] == [b"id: 1\ndata: {}\n\n", b": keep-alive\n\n", b": keep-alive\n\n"]
    assert received[-1] == b"id: 2\ndata: {}\n\n"


async def test_what_fails_while_streaming_is_the_next_event():
    async def events():
        yield 3, b"{}"
        raise Unavailable("The cache is down.")

    *_, last = [frame async for frame in sse.with_heartbeats(events())]
    [(number, event)] = frames(last.decode())
    assert (number, event["type"], event["data"]["code"]) == (4, "error", "unavailable")


async def test_a_reader_that_leaves_closes_the_source():
    closed = asyncio.Event()

    async def events():
        try:
            yield 1, b"{}"
            await asyncio.Event().wait()
        finally:
            closed.set()

    stream = sse.with_heartbeats(events())
    await anext(stream)
    reading = asyncio.create_task(anext(stream))
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await stream.aclose()
    assert closed.is_set()
