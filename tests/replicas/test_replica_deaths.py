"""kill -9 of the replica that is at a turn: within ten seconds the session goes on, and nothing is done twice."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from support.public_api import PublicApi, new_session, read_frames
from support.replicas import Replicas
from support.systems import READY_S
from support.waiting import eventually

pytestmark = pytest.mark.faults

GOES_ON_S = 10.0


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as made:
        yield made


@pytest.fixture(autouse=True)
def whole(replicas: Replicas) -> Iterator[None]:
    """All replicas run again after the test."""
    yield
    for process in replicas.processes:
        if not process.process.running:
            process.process.start(READY_S)


@pytest.mark.parametrize("message", ["wait at {}", "write at {}"], ids=["before a write", "in a write"])
def test_a_session_goes_on_when_its_replica_dies(
    replicas: Replicas, apis: list[PublicApi], pool: ThreadPoolExecutor, message: str
) -> None:
    session = new_session()
    apis[1].query("say first", session)
    dying = pool.submit(apis[0].query, message.format(session), session)
    eventually(lambda: replicas.backend.received(f"/gate/{session}"), "the turn waits at its gate")
    replicas.processes[0].kill()
    begun = time.monotonic()
    assert apis[1].query("say second", session)["message"] == "You said second."
    assert time.monotonic() - begun < GOES_ON_S
    replicas.backend.open_gate(session)
    with pytest.raises(httpx.HTTPError):
        dying.result(30)
    rows = replicas.rows("workflow_turns", session_id=session)
    committed = [row for row in rows if row["status"] == "committed"]
    assert [(row["user_text"], row["seq"]) for row in committed] == [("say first", 1), ("say second", 2)]
    assert all(row["status"] == "failed" and row["seq"] is None for row in rows if row not in committed)


def test_a_repeated_request_goes_on_under_the_same_id_and_does_not_wait_for_the_dead_ones_time(
    replicas: Replicas, apis: list[PublicApi], pool: ThreadPoolExecutor
) -> None:
    session, key = new_session(), new_session("key")
    text = f"write at {session}"
    dying = pool.submit(apis[0].query, text, session, key=key)
    eventually(lambda: replicas.backend.received(f"/gate/{session}"), "the write is in flight")
    replicas.processes[0].kill()
    begun = time.monotonic()
    replicas.backend.open_gate(session)
    reply = apis[1].query(text, session, key=key)
    assert time.monotonic() - begun < GOES_ON_S
    assert reply["message"].endswith(f"Written at {session}.")
    with pytest.raises(httpx.HTTPError):
        dying.result(30)
    # The receiver can tell that it is the same write.
    first, second = replicas.backend.received(f"/gate/{session}")
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    [row] = replicas.rows("workflow_turns", session_id=session)
    assert (row["turn_id"], row["status"], row["seq"]) == (reply["turn_id"], "committed", 1)
    assert apis[2].query(text, session, key=key) == reply


@pytest.mark.parametrize("key", [None, "a-key"])
def test_a_caller_is_answered_in_its_time_while_postgresql_is_frozen(
    replicas: Replicas, apis: list[PublicApi], key: str | None
) -> None:
    session = new_session()
    apis[0].query("say first", session)
    headers = {"Signalbox-Timeout-Ms": "500", **({"Idempotency-Key": new_session(key)} if key else {})}
    body = {"message": "say second", "session_id": session}
    replicas.postgres.freeze()
    try:
        begun = time.monotonic()
        late = apis[0].problem("POST", "/api/v1/query", json=body, headers=headers)
        assert time.monotonic() - begun < 2
        assert (late.status, late.code) == (504, "deadline_exceeded")
        body["session_id"] = new_session()
        with apis[1].http.stream("POST", "/api/v1/query/stream", json=body, headers=headers) as response:
            if key is None:
                (frame,) = read_frames(response)
                assert (frame.type, frame.data["code"]) == ("error", "deadline_exceeded")
            else:
                assert response.status_code == 504
        assert time.monotonic() - begun < 3.5
    finally:
        replicas.postgres.thaw()
    assert eventually(lambda: apis[1].query("say third", session), "the session goes on", 20)
