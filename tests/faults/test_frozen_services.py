"""SIGSTOP: connections stay open and nothing answers. The client gets its answer, or a problem, in time."""

import time

import pytest
from support.public_api import PublicApi, new_session

from signalbox_fake_provider import FakeProvider
from signalbox_local import ServicesStack

pytestmark = pytest.mark.faults

DEADLINE_MS = 3_000
GRACE_S = 2.0


@pytest.mark.parametrize(
    ("service", "message"),
    [
        ("flows", "where is my order 1042?"),
        ("tools", "is XYZ-9999 in stock?"),
        ("tools", "where is my order 1042?"),
        ("skills", "my tent arrived damaged"),
        ("llm_gateway", "my tent arrived damaged"),
        ("llm_gateway", "something that no rule knows"),
    ],
)
def test_a_frozen_service_does_not_hold_the_client(
    stack: ServicesStack, user: PublicApi, service: str, message: str
) -> None:
    session = new_session()
    user.query("hello", session)
    stack.service(service).freeze()
    started = time.monotonic()
    answer = user.http.post(
        "/api/v1/query",
        json={"message": message, "session_id": session},
        headers={"Signalbox-Timeout-Ms": str(DEADLINE_MS)},
    )
    assert time.monotonic() - started < DEADLINE_MS / 1000 + GRACE_S
    if answer.status_code == 200:
        # Where no model answers, examples may still find what to ask about.
        assert answer.json()["status"] in {"error", "degraded", "clarify"}
        assert answer.json()["reason"]
    else:
        assert answer.status_code in {503, 504}, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
    stack.service(service).thaw()
    assert user.query("hello", session)["status"] == "success"


def test_queries_that_need_no_frozen_service_are_not_held(stack: ServicesStack, user: PublicApi) -> None:
    for name in ("admin", "skills", "llm_gateway"):
        stack.service(name).freeze()
    started = time.monotonic()
    assert user.query("where is my order 1042?")["status"] == "success"
    assert time.monotonic() - started < GRACE_S


def test_a_provider_that_hangs_ends_with_the_deadline(user: PublicApi, model: FakeProvider) -> None:
    model.script([{"match": {"last_user_contains": "damaged"}, "fault": "hang"}])
    started = time.monotonic()
    answer = user.http.post(
        "/api/v1/query",
        json={"message": "my tent arrived damaged", "session_id": new_session()},
        headers={"Signalbox-Timeout-Ms": str(DEADLINE_MS)},
    )
    assert time.monotonic() - started < DEADLINE_MS / 1000 + GRACE_S
    assert answer.status_code in {200, 503, 504}
    model.wait_until(lambda seen: all(not record.open for record in seen))
