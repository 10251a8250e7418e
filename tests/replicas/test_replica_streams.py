"""Streams over replicas: dropped and resumed anywhere, ended whole or told where to go on, never left waiting."""

import os
import random
import signal
from collections.abc import Iterator

import httpx
import pytest
import redis
from support.public_api import Frame, Problem, PublicApi, new_session, read_frames, text_of
from support.replicas import Replicas
from support.sockets import query_socket
from support.systems import READY_S
from support.waiting import eventually
from websockets.exceptions import ConnectionClosed

DROPS = 20


@pytest.fixture(scope="module", autouse=True)
def workflows(running_replicas: Replicas) -> None:
    running_replicas.publish(workflow_id="leaving", policies={"client_gone": "cancel"})


@pytest.fixture
def whole(replicas: Replicas) -> Iterator[None]:
    """All replicas run again after the test."""
    yield
    # It may be on its way to its end still.
    replicas.processes[1].restart(READY_S)


def long_answer(replicas: Replicas, session: str, pieces: int = 110, delay_ms: int = 45) -> str:
    """Let the model answer in many pieces, each late enough to be an event of its own."""
    answer = " ".join(f"piece{number}" for number in range(pieces))
    match = {"last_user_contains": session}
    rule = {"match": match, "reply": answer, "chunks": pieces, "chunk_delay_ms": delay_ms}
    replicas.provider.script([rule])
    return answer


def test_a_stream_dropped_twenty_times_loses_and_repeats_nothing(
    replicas: Replicas, apis: list[PublicApi]
) -> None:
    chance = random.Random(20)
    session = new_session()
    answer = long_answer(replicas, session)
    seen: list[Frame] = []

    def read(frames: Iterator[Frame]) -> None:
        for _ in range(chance.randint(1, 4)):
            seen.append(next(frames))

    with apis[0].streaming(f"agent {session}", session) as frames:
        read(frames)
    turn_id, replica = seen[0].data["turn_id"], 0
    for _ in range(DROPS):
        assert seen[-1].type != "complete", "the stream was over before it was dropped so often"
        replica = chance.choice([number for number in range(3) if number != replica])
        with apis[replica].resuming(turn_id, len(seen), header=chance.random() < 0.5) as frames:
            read(frames)
    with apis[(replica + 1) % 3].resuming(turn_id, len(seen)) as frames:
        seen += frames
    assert [frame.id for frame in seen] == list(range(1, len(seen) + 1))
    assert [frame.type for frame in seen].count("start") == 1
    assert seen[-1].type == "complete"
    assert text_of(seen) == seen[-1].data["message"] == f"Welcome.\n\n{answer}"
    with apis[1].resuming(turn_id) as frames:
        assert list(frames) == seen


def test_a_socket_dropped_in_mid_turn_goes_on_at_another_replica(
    replicas: Replicas, apis: list[PublicApi]
) -> None:
    session = new_session()
    answer = long_answer(replicas, session, pieces=20)
    with query_socket(apis[0].url) as socket:
        socket.ask("a", f"agent {session}", session)
        events = socket.events("a")
        seen = [next(events) for _ in range(5)]
    with query_socket(apis[1].url) as socket:
        socket.send(type="resume", ref="b", turn_id=seen[0].data["turn_id"], after=5)
        seen += socket.events("b", after=5)
    assert text_of(seen) == seen[-1].data["message"] == f"Welcome.\n\n{answer}"


def test_a_client_that_does_not_read_holds_up_nobody_but_itself(
    replicas: Replicas, apis: list[PublicApi]
) -> None:
    session, size, turns = new_session(), 300_000, 24
    match = {"last_user_contains": session}
    replicas.provider.script([{"match": match, "reply": "x" * size, "chunks": 3}])
    turn_id = apis[0].stream(f"agent {session}", session)[0].data["turn_id"]
    with query_socket(apis[0].url, max_size=None, max_queue=1) as socket:
        for number in range(turns):
            socket.send(type="resume", ref=f"r{number}", turn_id=turn_id)
        # 14 MB are on their way to it, more than what lies between holds: the server has to wait.
        assert [apis[0].query("say hi")["status"] for _ in range(5)] == ["success"] * 5
        for number in range(turns):
            frames = list(socket.events(f"r{number}"))
            assert len(frames[-1].data["message"]) == len("Welcome.\n\n") + size


def test_what_is_gone_is_named(replicas: Replicas, apis: list[PublicApi]) -> None:
    frames = apis[0].stream("say hi")
    turn_id = frames[0].data["turn_id"]
    with redis.Redis.from_url(replicas.redis.url) as client:
        [log] = list(client.scan_iter(f"*turn-events*{turn_id}*"))
        client.xtrim(log, minid="3-0", approximate=False)
        gone = _gone(apis[1], turn_id, 0)
        assert gone.body["detail"].endswith(
            f"(the first one kept is 3); its outcome is at /api/v1/turn/{turn_id}."
        )
        with apis[1].resuming(turn_id, 2) as rest:
            assert list(rest) == frames[2:]
        client.delete(log)
    assert "(none is)" in _gone(apis[1], turn_id, 2).body["detail"]
    assert apis[2].turn(turn_id)["reply"]["message"] == frames[-1].data["message"]


@pytest.mark.parametrize(("workflow", "outcome"), [("leaving", "cancelled"), ("probe", "committed")])
@pytest.mark.parametrize("socket", [False, True], ids=["stream", "socket"])
def test_a_client_that_leaves_stops_its_turn_where_the_workflow_says_so(
    replicas: Replicas, apis: list[PublicApi], workflow: str, outcome: str, socket: bool
) -> None:
    session = new_session()
    long_answer(replicas, session, pieces=25)
    if socket:
        with query_socket(apis[0].url) as connection:
            connection.ask("a", f"agent {session}", session, workflow_id=workflow)
            events = connection.events("a")
            first, *_ = [next(events) for _ in range(4)]
    else:
        with apis[0].streaming(f"agent {session}", session, workflow_id=workflow) as frames:
            first, *_ = [next(frames) for _ in range(4)]
    turn_id = first.data["turn_id"]
    eventually(lambda: apis[1].turn(turn_id)["status"] == outcome, f"the turn is {outcome}", 15)
    [call] = [one for one in replicas.provider.requests() if session in str(one.body)]
    assert call.disconnected is (outcome == "cancelled")


@pytest.mark.faults
def test_a_replica_that_ends_lets_its_turns_end_and_sends_followers_on(
    replicas: Replicas, apis: list[PublicApi], whole: None
) -> None:
    here, there = new_session(), new_session()
    ending = replicas.processes[1].process
    with (
        apis[1].streaming(f"wait at {here}", here) as own,
        apis[0].streaming(f"wait at {there}", there) as elsewhere,
        query_socket(apis[1].url) as socket,
    ):
        first = [next(own), next(own)]
        turn_id = next(elsewhere).data["turn_id"]
        socket.ask("own", f"wait at {here}-2", new_session())
        own_events = socket.events("own")
        next(own_events)
        path = f"/api/v1/turn/{turn_id}/events"
        with apis[1].http.stream("GET", path) as following:
            lines = following.iter_lines()
            assert next(lines) == "id: 1"
            eventually(lambda: replicas.backend.received(f"/gate/{here}-2"), "both turns wait", 15)
            os.kill(ending.pid, signal.SIGTERM)
            rest = list(lines)
        assert [line for line in rest if line][-2:] == [": reconnect", "retry: 100"]
        for gate in (here, f"{here}-2"):
            replicas.backend.open_gate(gate)
        assert [*first, *own][-1].type == "complete"
        assert list(own_events)[-1].type == "complete"
        assert socket.read(None) == {"type": "reconnect"}
        with pytest.raises(ConnectionClosed) as closed:
            socket.connection.recv(timeout=5)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        with apis[2].resuming(turn_id, 1) as resumed:
            replicas.backend.open_gate(there)
            assert list(resumed)[-1].type == "complete"


@pytest.mark.faults
def test_a_turn_that_takes_longer_than_the_end_of_its_replica_says_so(
    replicas: Replicas, apis: list[PublicApi], whole: None
) -> None:
    session = new_session()
    with apis[1].streaming(f"wait at {session}", session) as frames:
        turn_id = next(frames).data["turn_id"]
        eventually(lambda: replicas.backend.received(f"/gate/{session}"), "the turn waits", 15)
        os.kill(replicas.processes[1].process.pid, signal.SIGTERM)
        last = list(frames)[-1]
    assert (last.type, last.data["code"], last.data["status"]) == ("error", "shutting_down", 503)
    assert apis[0].turn(turn_id)["status"] == "cancelled"
    assert apis[0].query("say on", session)["status"] == "success"


@pytest.mark.faults
def test_who_follows_a_turn_of_a_dead_replica_is_told(
    replicas: Replicas, apis: list[PublicApi], whole: None
) -> None:
    session = new_session()
    with (
        apis[1].streaming(f"wait at {session}", session) as frames,
        httpx.Client(base_url=apis[0].url, timeout=25, trust_env=False) as patient,
    ):
        turn_id = next(frames).data["turn_id"]
        eventually(lambda: replicas.backend.received(f"/gate/{session}"), "the turn waits", 15)
        with patient.stream("GET", f"/api/v1/turn/{turn_id}/events") as response:
            following = read_frames(response)
            assert next(following).type == "start"
            replicas.processes[1].kill()
            last = list(following)[-1]
        assert (last.type, last.data["code"]) == ("error", "turn_lost")
        with pytest.raises(httpx.HTTPError):
            list(frames)


def _gone(api: PublicApi, turn_id: str, after: int) -> Problem:
    with pytest.raises(Problem) as gone, api.resuming(turn_id, after) as frames:
        list(frames)
    assert (gone.value.status, gone.value.code) == (410, "events_gone")
    return gone.value
