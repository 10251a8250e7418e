"""Sessions: pages, order, deletion, expiry, and two messages at once."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.public_api import Problem, PublicApi, new_session
from support.systems import TENANTS, RunningSystem


def test_messages_come_by_page_and_in_order(client: PublicApi) -> None:
    session = new_session()
    replies = [client.query("hello", session)["message"] for _ in range(5)]
    expected = [message for reply in replies for message in (("user", "hello"), ("assistant", reply))]
    assert client.history(session) == expected
    pages, after = [], 0
    while after is not None:
        page = client.session(session, after=after, limit=3)
        assert page["message_count"] == 10
        assert len(page["messages"]) <= 3
        pages.append([(item["role"], item["text"]) for item in page["messages"]])
        after = page["next_after"]
    assert [item for page in pages for item in page] == expected
    assert len(pages) == 4
    assert client.session(session, after=10)["messages"] == []


def test_a_session_says_where_it_stands(client: PublicApi) -> None:
    session = new_session()
    client.query("where is my order?", session)
    view = client.session(session)
    assert view["session_id"] == session
    assert view["agent_id"] == "shop"
    assert view["workflow_state"]["status"] == "waiting"
    assert view["workflow_state"]["config_hash"] == client.call("GET", "/api/v1/health")["config_hash"]
    assert view["created_at"] < view["expires_at"]


def test_a_deleted_session_is_gone_and_its_id_starts_afresh(client: PublicApi) -> None:
    session = new_session()
    client.query("where is my order?", session)
    turn_id = client.query("1043", session)["turn_id"]
    assert client.call("DELETE", f"/api/v1/session/{session}") == {"status": "deleted"}
    for method, path in (
        ("GET", f"/api/v1/session/{session}"),
        ("DELETE", f"/api/v1/session/{session}"),
        ("GET", f"/api/v1/turn/{turn_id}"),
    ):
        assert client.problem(method, path).status == 404
    reply = client.query("hello", session)
    assert reply["greeting"]
    assert client.history(session) == [("user", "hello"), ("assistant", reply["message"])]


def test_a_flow_that_was_open_does_not_outlive_its_session(client: PublicApi) -> None:
    session = new_session()
    client.query("where is my order?", session)
    client.call("DELETE", f"/api/v1/session/{session}")
    assert client.query("hello", session)["decision"]["stage"] == "rule"


def test_an_expired_session_starts_afresh_and_keeps_its_history(
    client: PublicApi, system: RunningSystem
) -> None:
    session = new_session()
    client.query("where is my order?", session)
    system.stores.expire_session(TENANTS[0], session)
    assert client.session(session)["workflow_state"]["need_greeting"] is True
    reply = client.query("hello", session)
    assert reply["decision"]["stage"] == "rule"
    assert reply["greeting"]
    assert len(client.history(session)) == 4


def test_messages_at_once_are_answered_one_after_the_other(client: PublicApi, probe: dict[str, Any]) -> None:
    session = new_session()
    messages = [f"say number{number}" for number in range(20)]
    with ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(lambda text: client.query(text, session, **probe), messages))
    history = client.history(session)
    assert sorted(text for role, text in history if role == "user") == sorted(messages)
    answers = dict(zip(messages, (reply["message"] for reply in replies), strict=True))
    pairs = list(zip(history[::2], history[1::2], strict=True))
    assert all(answers[question] == answer for (_, question), (_, answer) in pairs)
    assert [bool(reply.get("greeting")) for reply in replies].count(True) == 1


def test_a_message_that_waits_too_long_is_told_that_the_session_is_busy(
    client: PublicApi, system: RunningSystem, probe: dict[str, Any]
) -> None:
    session = new_session()
    with client.streaming(f"wait at {session}", session, **probe) as frames:
        assert next(frames).type == "start"
        refused = client.problem(
            "POST",
            "/api/v1/query",
            json={"message": "say more", "session_id": session},
            headers={"Signalbox-Timeout-Ms": "400"},
        )
        assert (refused.status, refused.code) == (409, "session_busy")
        assert int(refused.response.headers["Retry-After"]) >= 1
        system.backend.open_gate(session)
        assert list(frames)[-1].type == "complete"
    assert [text for role, text in client.history(session) if role == "user"] == [f"wait at {session}"]


@pytest.mark.parametrize(
    "path", ["session/none-like-this", "turn/none-like-this", "turn/none-like-this/events"]
)
def test_what_does_not_exist_is_404(client: PublicApi, path: str) -> None:
    assert client.problem("GET", f"/api/v1/{path}").status == 404


def test_sessions_of_two_users_of_one_key_are_apart(admin_client: PublicApi) -> None:
    session = new_session()
    admin_client.query("hello", session, user_id="ada")
    with pytest.raises(Problem) as refused:
        admin_client.query("hello", session, user_id="grace")
    assert refused.value.status == 404
    assert len(admin_client.history(session, "ada")) == 2


@pytest.mark.usefixtures("with_keys")
def test_a_user_id_counts_only_for_a_key_that_acts_for_users(client: PublicApi) -> None:
    session = new_session()
    client.query("hello", session, user_id="ada")
    client.query("hello", session, user_id="grace")
    assert len(client.history(session)) == 4
