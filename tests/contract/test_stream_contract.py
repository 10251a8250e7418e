"""``POST /api/v1/query/stream`` and resuming: order, text, commit before ``complete``, what is gone."""

from typing import Any

import pytest
from support.public_api import Problem, PublicApi, new_session, text_of
from support.systems import RunningSystem

from signalbox_fake_provider import FakeProvider

ORDER = ["start", "intent", "tool_call", "tool_result", "text", "usage", "complete"]


def test_events_come_in_order_without_names_or_gaps(client: PublicApi) -> None:
    session = new_session()
    frames = client.stream("where is my order 1042?", session)
    kinds = [frame.type for frame in frames]
    assert [frame.id for frame in frames] == list(range(1, len(frames) + 1))
    assert kinds[:2] == ["start", "intent"]
    assert kinds[-1] == "complete"
    assert kinds.count("start") == kinds.count("complete") == 1
    assert set(kinds) <= set(ORDER)
    assert kinds.index("tool_call") < kinds.index("tool_result")
    start, complete = frames[0].data, frames[-1].data
    assert (start["session_id"], start["workflow_id"]) == (session, "shop")
    assert complete["turn_id"] == start["turn_id"]
    assert complete["decision"]["intent"] == frames[1].data["intent"] == "order_status"


@pytest.mark.parametrize("message", ["hello", "你好", "where is my order 1042?", "I want to talk to a human"])
def test_the_text_is_the_whole_message(client: PublicApi, message: str) -> None:
    frames = client.stream(message)
    assert text_of(frames) == frames[-1].data["message"]
    first = next(frame.data["delta"] for frame in frames if frame.type == "text")
    assert first.startswith(frames[-1].data["greeting"])


def test_a_streamed_turn_says_what_a_plain_one_says(client: PublicApi) -> None:
    plain = client.query("where is my order 1043?")
    streamed = client.stream("where is my order 1043?")[-1].data
    own = {"session_id", "turn_id", "trace_id", "decision"}
    # A member that is null in one may be absent in the other.
    for name in (set(plain) | set(streamed)) - own:
        assert plain.get(name) == streamed.get(name), name


def test_complete_follows_the_commit(client: PublicApi) -> None:
    session = new_session()
    with client.streaming("hello", session) as frames:
        for frame in frames:
            if frame.type == "complete":
                history = client.history(session)
                assert history == [("user", "hello"), ("assistant", frame.data["message"])]
                assert client.turn(frame.data["turn_id"])["status"] == "committed"
                return
    pytest.fail("the stream ended without complete")


@pytest.mark.parametrize("header", [True, False])
def test_a_stream_is_resumed_after_any_event(client: PublicApi, header: bool) -> None:
    frames = client.stream("where is my order 1042?")
    turn_id = frames[0].data["turn_id"]
    for after in range(len(frames)):
        with client.resuming(turn_id, after, header=header) as rest:
            assert list(rest) == frames[after:]


def test_a_finished_stream_that_is_resumed_past_its_end_ends_at_once(client: PublicApi) -> None:
    turn_id = client.stream("where is my order 1042?")[0].data["turn_id"]
    with client.resuming(turn_id, 99_999) as rest:
        assert list(rest) == []


def test_a_running_turn_is_followed_from_another_connection(
    client: PublicApi, system: RunningSystem, probe: dict[str, Any]
) -> None:
    session = new_session()
    with client.streaming(f"wait at {session}", session, **probe) as frames:
        seen = [next(frames), next(frames)]
        turn_id = seen[0].data["turn_id"]
        with client.resuming(turn_id) as second:
            again = [next(second), next(second)]
            system.backend.open_gate(session)
            again += list(second)
        seen += list(frames)
    assert again == seen
    assert seen[-1].type == "complete"


@pytest.mark.parametrize("system", ["services"], indirect=True)
def test_a_stream_is_resumed_on_another_replica(client: PublicApi, system: RunningSystem) -> None:
    replicas = [PublicApi(url, client.key) for url in system.workflow_urls()]
    assert len(replicas) > 1
    frames = replicas[0].stream("where is my order 1042?")
    with replicas[1].resuming(frames[0].data["turn_id"], 2) as rest:
        assert list(rest) == frames[2:]
    for replica in replicas:
        replica.close()


def test_a_log_that_is_gone_is_410_and_the_reply_is_still_there(client: PublicApi) -> None:
    reply = client.query("hello")
    with pytest.raises(Problem) as gone, client.resuming(reply["turn_id"]) as frames:
        list(frames)
    assert (gone.value.status, gone.value.code) == (410, "events_gone")
    assert client.turn(reply["turn_id"])["reply"]["message"] == reply["message"]


def test_a_client_that_leaves_does_not_lose_its_turn(
    client: PublicApi, system: RunningSystem, probe: dict[str, Any]
) -> None:
    session = new_session()
    with client.streaming(f"wait at {session}", session, **probe) as frames:
        turn_id = next(frames).data["turn_id"]
    system.backend.open_gate(session)
    with client.resuming(turn_id) as rest:
        assert list(rest)[-1].type == "complete"
    assert client.turn(turn_id)["status"] == "committed"


def test_a_turn_that_cannot_be_run_is_one_error_event(client: PublicApi) -> None:
    session = new_session()
    (frame,) = client.stream("hello", session, workflow_id="nobody-published-this")
    assert (frame.type, frame.data["code"], frame.data["status"]) == ("error", "no_release", 404)
    assert client.problem("GET", f"/api/v1/session/{session}").status == 404


def test_a_request_that_cannot_be_read_is_a_problem_not_a_stream(client: PublicApi) -> None:
    assert client.problem("POST", "/api/v1/query/stream", json={"message": "x"}).status == 422


def test_deltas_are_merged_but_not_held_back(
    client: PublicApi, provider: FakeProvider, probe: dict[str, Any]
) -> None:
    token = new_session("tok")
    many = " ".join(f"w{number}" for number in range(200))
    provider.script([{"match": {"last_user_contains": token}, "reply": many, "chunks": 200}])
    frames = client.stream(f"agent {token}", **probe)
    deltas = [frame.data["delta"] for frame in frames if frame.type == "text"]
    assert "".join(deltas) == f"Welcome.\n\n{many}" == frames[-1].data["message"]
    assert len(deltas) < 150
