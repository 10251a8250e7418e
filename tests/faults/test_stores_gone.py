"""PostgreSQL and Redis killed, emptied and frozen: PostgreSQL is the truth, Redis may go at any moment."""

import time

import httpx
import pytest
from support.public_api import PublicApi, new_session, text_of
from support.readiness import not_ready_because
from support.traffic import Traffic
from support.waiting import eventually

from signalbox_local import ServicesStack

pytestmark = pytest.mark.faults

DEADLINE_MS = 3_000
STORE_S = 5.0
"""What any one call to the database may take, whatever the client's deadline: a commit is not given up earlier."""

GRACE_S = 2.0
STORED = ("workflow", "admin", "llm_gateway", "skills")


def ask_in_time(
    api: PublicApi, message: str, session: str, limit_s: float = DEADLINE_MS / 1000
) -> httpx.Response:
    """A query with a short deadline; an AssertionError when nothing comes within ``limit_s``."""
    started = time.monotonic()
    answer = api.http.post(
        "/api/v1/query",
        json={"message": message, "session_id": session},
        headers={"Signalbox-Timeout-Ms": str(DEADLINE_MS)},
        timeout=30,
    )
    took = time.monotonic() - started
    assert took < limit_s + GRACE_S, f"answered {answer.status_code} after {took:.1f} s"
    return answer


def test_an_open_flow_outlives_redis(stack: ServicesStack, user: PublicApi) -> None:
    session = new_session()
    assert user.query("where is my order?", session)["status"] == "waiting"
    stack.redis.kill()
    stack.redis.restart()
    assert "Order 1043 was delivered" in user.query("1043", session)["message"]


def test_without_redis_queries_and_streams_are_still_answered(stack: ServicesStack, user: PublicApi) -> None:
    workflow = stack.service_urls("workflow")[0]
    session = new_session()
    user.query("hello", session)
    stack.redis.kill()
    assert "cache" in eventually(lambda: not_ready_because(workflow), "Workflow says what fails")
    for _ in range(3):
        assert ask_in_time(user, "where is my order 1042?", session).status_code == 200
    frames = user.stream("hello", session)
    assert text_of(frames) == frames[-1].data["message"]
    with Traffic(stack.edge_url) as traffic:
        traffic.wait_for(more_acknowledged=15)
    assert traffic.failures == []
    stack.redis.restart()
    traffic.check()
    assert len(user.history(session)) == 10
    eventually(lambda: not_ready_because(workflow) == "", "Workflow is ready again")


def test_a_frozen_redis_is_answered_around_in_time(stack: ServicesStack, user: PublicApi) -> None:
    session = new_session()
    user.query("hello", session)
    stack.redis.freeze()
    answer = ask_in_time(user, "where is my order 1042?", session)
    assert answer.status_code in {200, 503, 504}, answer.text
    stack.redis.thaw()
    eventually(lambda: ask_in_time(user, "hello", session).status_code == 200, "it is answered again", 20)


def test_without_postgres_nothing_is_acknowledged_and_it_is_said_why(
    stack: ServicesStack, user: PublicApi
) -> None:
    session = new_session()
    user.query("hello", session)
    stack.postgres.kill()
    answer = ask_in_time(user, "where is my order 1042?", session)
    assert answer.status_code == 503, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"]
    for name in STORED:
        url = stack.service_urls(name)[0]
        assert "database" in eventually(lambda url=url: not_ready_because(url), f"{name} says what fails")
    assert not_ready_because(stack.service_urls("tools")[0]) == ""
    stack.postgres.restart()
    eventually(lambda: ask_in_time(user, "hello", session).status_code == 200, "it is answered again", 20)
    assert user.history(session)[0] == ("user", "hello")


def test_a_frozen_postgres_is_a_problem_in_bounded_time(stack: ServicesStack, user: PublicApi) -> None:
    session = new_session()
    user.query("hello", session)
    stack.postgres.freeze()
    answer = ask_in_time(user, "where is my order 1042?", session, STORE_S)
    assert answer.status_code in {503, 504}, answer.text
    stack.postgres.thaw()
    eventually(lambda: ask_in_time(user, "hello", session).status_code == 200, "it is answered again", 20)
