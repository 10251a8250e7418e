"""``/api/v1/query/ws``: several turns on one connection, resuming, cancelling, refusals, who may open it."""

import json
from typing import Any

import pytest
from support.public_api import PublicApi, new_session, text_of
from support.sockets import query_socket
from support.systems import RunningSystem
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from signalbox_fake_provider import FakeProvider


def test_messages_are_answered_one_after_another_on_one_connection(client: PublicApi) -> None:
    session = new_session()
    with query_socket(client.url, client.key) as socket:
        for number, message in enumerate(("hello", "where is my order 1042?", "hello")):
            socket.ask(f"m{number}", message, session)
            frames = list(socket.events(f"m{number}"))
            assert [frames[0].type, frames[-1].type] == ["start", "complete"]
            assert text_of(frames) == frames[-1].data["message"]
            assert client.turn(frames[0].data["turn_id"])["seq"] == number + 1
    assert [text for role, text in client.history(session) if role == "user"] == [
        "hello",
        "where is my order 1042?",
        "hello",
    ]


def test_turns_of_different_sessions_go_on_side_by_side(
    client: PublicApi, system: RunningSystem, probe: dict[str, Any]
) -> None:
    slow, quick = new_session(), new_session()
    with query_socket(client.url, client.key) as socket:
        socket.ask("slow", f"wait at {slow}", slow, **probe)
        socket.ask("quick", "say hi", quick, **probe)
        assert list(socket.events("quick"))[-1].type == "complete"
        system.backend.open_gate(slow)
        assert list(socket.events("slow"))[-1].type == "complete"


def test_a_turn_is_resumed_on_another_connection_and_as_a_stream(
    client: PublicApi, system: RunningSystem, probe: dict[str, Any]
) -> None:
    session = new_session()
    with query_socket(client.url, client.key) as socket:
        socket.ask("a", f"wait at {session}", session, **probe)
        events = socket.events("a")
        seen = [next(events), next(events)]
    turn_id = seen[0].data["turn_id"]
    with query_socket(client.url, client.key) as socket:
        socket.send(type="resume", ref="b", turn_id=turn_id, after=2)
        system.backend.open_gate(session)
        seen += socket.events("b", after=2)
        assert seen[-1].type == "complete"
        socket.send(type="resume", ref="c", turn_id=turn_id)
        assert list(socket.events("c")) == seen
    with client.resuming(turn_id) as frames:
        assert list(frames) == seen


def test_a_turn_is_cancelled_down_to_its_model_call(
    client: PublicApi, provider: FakeProvider, probe: dict[str, Any]
) -> None:
    session = new_session()
    provider.script([{"match": {"last_user_contains": session}, "fault": "hang"}])
    with query_socket(client.url, client.key) as socket:
        socket.ask("a", f"agent {session}", session, **probe)
        events = socket.events("a")
        turn_id = next(events).data["turn_id"]
        provider.wait_until(lambda seen: any(one.open for one in seen), timeout=15)
        socket.send(type="cancel", ref="b", turn_id=turn_id)
        assert list(events)[-1].data["code"] == "turn_cancelled"
    provider.wait_until(lambda seen: all(one.disconnected for one in seen))


def test_a_repeated_key_gets_the_same_reply(client: PublicApi) -> None:
    session, key = new_session(), new_session("key")
    with query_socket(client.url, client.key) as socket:
        socket.ask("a", "hello", session, key=key)
        first = list(socket.events("a"))[-1]
        socket.ask("b", "hello", session, key=key)
        [again] = socket.events("b")
        assert again.data == first.data
        socket.ask("c", "hello again", session, key=key)
        assert socket.problem("c")["code"] == "idempotency_key_reused"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", "malformed_json"),
        ("[]", "validation_failed"),
        ('{"type": "query"}', "validation_failed"),
        ('{"type": "shout"}', "validation_failed"),
        (
            '{"type": "query", "query": {"message": "x", "session_id": "s", "sessoin": 1}}',
            "validation_failed",
        ),
        ('{"type": "resume", "turn_id": "turn_of_nobody"}', "turn_not_found"),
        ('{"type": "cancel", "turn_id": "turn_of_nobody"}', "turn_not_found"),
    ],
)
def test_what_is_refused_is_a_problem_and_the_connection_goes_on(
    client: PublicApi, text: str, code: str
) -> None:
    with query_socket(client.url, client.key) as socket:
        socket.connection.send(text)
        assert socket.problem("")["code"] == code
        socket.connection.send(b"\x00")
        assert socket.problem("")["status"] == 400
        socket.send(type="ping", ref="p")
        assert socket.read("p") == {"type": "pong", "ref": "p"}


def test_a_turn_that_cannot_be_run_ends_with_an_error(client: PublicApi) -> None:
    with query_socket(client.url, client.key) as socket:
        socket.ask("a", "hello", new_session(), workflow_id="nobody-published-this")
        (frame,) = socket.events("a")
        assert (frame.type, frame.data["code"]) == ("error", "no_release")


def test_no_more_than_so_many_turns_are_followed_at_once(
    client: PublicApi, system: RunningSystem, probe: dict[str, Any]
) -> None:
    gate = new_session()
    with query_socket(client.url, client.key) as socket:
        for number in range(32):
            socket.ask(f"m{number}", f"wait at {gate}", new_session(), **probe)
        socket.ask("more", "say hi", new_session(), **probe)
        assert socket.problem("more")["code"] == "too_many_at_once"
        system.backend.open_gate(gate)
        for number in range(32):
            assert list(socket.events(f"m{number}"))[-1].type == "complete"


def test_who_may_not_ask_is_told_before_the_handshake(client: PublicApi, with_keys: None) -> None:
    for key in (None, "sbx_no_such_key"):
        with pytest.raises(InvalidStatus) as refused, query_socket(client.url, key):
            pass
        response = refused.value.response
        assert response.status_code == 401
        assert json.loads(response.body)["code"] == "unauthenticated"


def test_a_browser_sends_its_key_as_a_subprotocol(client: PublicApi, with_keys: None) -> None:
    address = f"ws{client.url.removeprefix('http')}/api/v1/query/ws"
    offered = ["signalbox", f"bearer.{client.key}"]
    with connect(address, subprotocols=offered, proxy=None) as connection:  # type: ignore[arg-type]
        assert connection.subprotocol == "signalbox"
        connection.send('{"type": "ping"}')
        assert json.loads(connection.recv(timeout=5)) == {"type": "pong", "ref": ""}


def test_the_turns_of_others_are_not_there(client: PublicApi, other: PublicApi) -> None:
    turn_id = client.stream("hello")[0].data["turn_id"]
    with query_socket(other.url, other.key) as socket:
        socket.send(type="resume", ref="a", turn_id=turn_id)
        assert socket.problem("a")["code"] == "turn_not_found"
