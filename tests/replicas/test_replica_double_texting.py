"""What a second message does to a turn that another replica is at: nothing, be refused, or stop it."""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
import redis
from support.public_api import Problem, PublicApi, new_session
from support.replicas import Replicas
from support.waiting import eventually

SOON_S = 1.5
"""Less than the time after which a lease is renewed: who interrupts does not wait for that."""


@pytest.fixture(scope="module", autouse=True)
def policies(running_replicas: Replicas) -> None:
    for policy in ("reject", "interrupt"):
        running_replicas.publish(workflow_id=policy, policies={"double_texting": policy})


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as made:
        yield made


def problem(future: "Future[dict[str, object]]") -> Problem:
    with pytest.raises(Problem) as caught:
        future.result(30)
    return caught.value


def test_reject_refuses_on_every_replica(
    replicas: Replicas, apis: list[PublicApi], pool: ThreadPoolExecutor
) -> None:
    session = new_session()
    first = pool.submit(apis[0].query, f"wait at {session}", session, workflow_id="reject")
    eventually(lambda: replicas.backend.received(f"/gate/{session}"), "the turn waits at its gate")
    for api in apis:
        with pytest.raises(Problem) as busy:
            api.query("say no", session, workflow_id="reject")
        assert (busy.value.status, busy.value.code) == (409, "session_busy")
        assert busy.value.response.headers["retry-after"] == "1"
    replicas.backend.open_gate(session)
    assert first.result(30)["status"] == "success"
    assert apis[1].query("say yes", session, workflow_id="reject")["status"] == "success"
    assert [row["seq"] for row in replicas.rows("workflow_turns", session_id=session)] == [1, 2]


def test_interrupt_stops_the_turn_down_to_the_model_call_and_keeps_its_cost(
    replicas: Replicas, apis: list[PublicApi], pool: ThreadPoolExecutor
) -> None:
    session = new_session()
    call = {"tool_calls": [{"name": "lookup", "arguments": {"word": "a"}}]}
    named = {"last_user_contains": session}
    replicas.provider.script(
        [
            {"match": {**named, "has_tool_result": False}, "reply": call},
            {"match": {**named, "has_tool_result": True}, "fault": "hang"},
        ]
    )
    first = pool.submit(apis[0].query, f"agent {session}", session, workflow_id="interrupt")
    replicas.provider.wait_until(lambda seen: len(seen) == 2 and seen[1].open, timeout=15)
    begun = time.monotonic()
    assert apis[1].query("say now", session, workflow_id="interrupt")["message"].endswith("You said now.")
    assert time.monotonic() - begun < SOON_S
    assert (problem(first).status, problem(first).code) == (409, "turn_cancelled")
    replicas.provider.wait_until(lambda seen: seen[1].disconnected and not seen[1].open)
    cancelled, answered = replicas.rows("workflow_turns", session_id=session)
    assert (cancelled["status"], cancelled["seq"], answered["seq"]) == ("cancelled", None, 1)
    assert cancelled["input_tokens"] > 0
    calls = eventually(lambda: _ledger(replicas, session, 2), "both calls are in the ledger")
    assert [call["outcome"] for call in calls] == ["ok", "aborted"]


def test_interrupt_waits_for_a_write_that_is_in_flight(
    replicas: Replicas, apis: list[PublicApi], pool: ThreadPoolExecutor
) -> None:
    session = new_session()
    first = pool.submit(apis[0].query, f"write at {session}", session, workflow_id="interrupt")
    eventually(lambda: replicas.backend.received(f"/gate/{session}"), "the write is in flight")
    second = pool.submit(apis[1].query, "say now", session, workflow_id="interrupt")
    eventually(lambda: _asked_to_stop(replicas, session), "the turn is asked to stop")
    # The second write of the flow would begin as soon as the first one ends.
    with pytest.raises(TimeoutError):
        second.result(0.5)
    assert not first.done()
    replicas.backend.open_gate(session)
    begun = time.monotonic()
    assert second.result(15)["message"].endswith("You said now.")
    assert time.monotonic() - begun < SOON_S
    assert problem(first).code == "turn_cancelled"
    cancelled, answered = replicas.rows("workflow_turns", session_id=session)
    assert (cancelled["status"], answered["status"], answered["seq"]) == ("cancelled", "committed", 1)
    written = [one for one in replicas.backend.received("/written") if session in one.body]
    assert written == [], "a write began after the turn was asked to stop"


def test_cancelling_a_turn_reaches_the_replica_that_runs_it(
    replicas: Replicas, apis: list[PublicApi]
) -> None:
    session = new_session()
    replicas.provider.script([{"match": {"last_user_contains": session}, "fault": "hang"}])
    with apis[0].streaming(f"agent {session}", session) as frames:
        turn_id = next(frames).data["turn_id"]
        replicas.provider.wait_until(lambda seen: any(one.open for one in seen), timeout=15)
        begun = time.monotonic()
        assert apis[2].call("POST", f"/api/v1/turn/{turn_id}/cancel")["status"] == "running"
        last = list(frames)[-1]
    assert time.monotonic() - begun < SOON_S
    assert (last.type, last.data["code"]) == ("error", "turn_cancelled")
    assert apis[1].turn(turn_id)["status"] == "cancelled"
    replicas.provider.wait_until(lambda seen: seen[0].disconnected)


def test_a_turn_that_has_ended_cannot_be_cancelled_in_the_place_of_the_next(
    replicas: Replicas, apis: list[PublicApi], pool: ThreadPoolExecutor
) -> None:
    session = new_session()
    ended = apis[0].query("say one", session)["turn_id"]
    running = pool.submit(apis[0].query, f"wait at {session}", session)
    eventually(lambda: replicas.backend.received(f"/gate/{session}"), "the turn waits at its gate")
    assert apis[1].call("POST", f"/api/v1/turn/{ended}/cancel")["status"] == "committed"
    replicas.backend.open_gate(session)
    assert running.result(30)["status"] == "success"


def _ledger(replicas: Replicas, session: str, count: int) -> list[dict[str, object]]:
    rows = replicas.rows("ledger_calls", session_id=session)
    return rows if len(rows) == count else []


def _asked_to_stop(replicas: Replicas, session: str) -> bool:
    """Whether somebody stands in line for the gate of a turn's writes: who stops the turn."""
    [turn] = replicas.rows("workflow_turns", session_id=session)
    with redis.Redis.from_url(replicas.redis.url) as client:
        return bool(list(client.scan_iter(f"*line:writes:*{turn['turn_id']}*")))
