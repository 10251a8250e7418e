"""Turns: reading, cancelling down to the model, feedback."""

from typing import Any

import pytest
from support.public_api import PublicApi, new_session
from support.systems import RunningSystem
from support.waiting import eventually

from signalbox_fake_provider import FakeProvider


def test_a_turn_holds_the_reply_that_was_sent(client: PublicApi) -> None:
    session = new_session()
    replies = [client.query("hello", session) for _ in range(2)]
    for number, reply in enumerate(replies, 1):
        view = client.turn(reply["turn_id"])
        assert (view["status"], view["seq"], view["session_id"]) == ("committed", number, session)
        assert {name: view["reply"][name] for name in reply} == reply
        assert view["created_at"] <= view["committed_at"]


def test_a_running_turn_is_seen_as_running(
    client: PublicApi, system: RunningSystem, probe: dict[str, Any]
) -> None:
    session = new_session()
    with client.streaming(f"wait at {session}", session, **probe) as frames:
        turn_id = next(frames).data["turn_id"]
        view = client.turn(turn_id)
        assert (view["status"], view["reply"], view["session_id"]) == ("running", None, session)
        system.backend.open_gate(session)
        assert list(frames)[-1].type == "complete"
    assert client.turn(turn_id)["status"] == "committed"


def test_cancelling_stops_the_model_call_and_keeps_nothing(
    client: PublicApi, provider: FakeProvider, probe: dict[str, Any]
) -> None:
    token, session = new_session("tok"), new_session()
    provider.script([{"match": {"last_user_contains": token}, "fault": "hang"}])
    with client.streaming(f"agent {token}", session, **probe) as frames:
        turn_id = next(frames).data["turn_id"]
        provider.wait_until(lambda seen: any(record.open for record in seen))
        client.call("POST", f"/api/v1/turn/{turn_id}/cancel")
        last = list(frames)[-1]
    assert (last.type, last.data["code"]) == ("error", "turn_cancelled")
    provider.wait_until(lambda seen: seen[-1].disconnected)
    assert client.history(session) == []
    assert client.query("say on", session, **probe)["message"].endswith("You said on.")


@pytest.mark.parametrize("system", ["services"], indirect=True)
def test_a_turn_is_cancelled_from_another_replica(
    client: PublicApi, system: RunningSystem, provider: FakeProvider, probe: dict[str, Any]
) -> None:
    token, session = new_session("tok"), new_session()
    provider.script([{"match": {"last_user_contains": token}, "fault": "hang"}])
    here, there = (PublicApi(url, client.key) for url in system.workflow_urls())
    with here.streaming(f"agent {token}", session, **probe) as frames:
        turn_id = next(frames).data["turn_id"]
        provider.wait_until(lambda seen: any(record.open for record in seen))
        there.call("POST", f"/api/v1/turn/{turn_id}/cancel")
        assert list(frames)[-1].data["code"] == "turn_cancelled"
    provider.wait_until(lambda seen: seen[-1].disconnected)
    here.close()
    there.close()


def test_a_committed_turn_is_not_cancelled(client: PublicApi) -> None:
    turn_id = client.query("hello")["turn_id"]
    assert client.call("POST", f"/api/v1/turn/{turn_id}/cancel")["status"] == "committed"


def test_feedback_is_kept_with_the_turn(client: PublicApi, system: RunningSystem) -> None:
    turn_id = client.query("hello")["turn_id"]
    path = f"/api/v1/turn/{turn_id}/feedback"
    assert client.http.post(path, json={"thumb": "up", "comment": "quick"}).status_code == 204
    assert client.http.post(path, json={"thumb": "down", "comment": "changed my mind"}).status_code == 204
    (row,) = [row for row in system.stores.rows("workflow", "workflow_turns") if row["turn_id"] == turn_id]
    assert (row["thumb"], row["comment"]) == ("down", "changed my mind")
    assert client.problem("POST", path, json={"thumb": "sideways"}).body["errors"][0]["pointer"] == "/thumb"


def test_a_turn_row_carries_what_happened(client: PublicApi, system: RunningSystem) -> None:
    reply = client.query("where is my order 1042?")
    rows = system.stores.rows("workflow", "workflow_turns")
    (row,) = [row for row in rows if row["turn_id"] == reply["turn_id"]]
    assert (row["stage"], row["intent"], row["outcome"]) == ("rule", "order_status", "success")
    assert row["trace_id"] == reply["trace_id"]
    assert row["release_number"] >= 1
    assert row["latency_ms"] > 0


def test_nothing_is_left_running(system: RunningSystem) -> None:
    def all_ended() -> bool:
        rows = system.stores.rows("workflow", "workflow_turns")
        return all(row["status"] != "running" for row in rows)

    eventually(all_ended, "every turn has ended")
