"""The direct way of ``POST /api/v1/query``: what it answers, and what it leaves to the route."""

import pytest

from signalbox.common.auth import Authenticator, ServiceTokens
from signalbox.common.errors import Unauthenticated
from signalbox.common.web.direct import NotDirect
from signalbox.common.web.middleware import HEADERS
from signalbox.contracts.query import QueryReply
from signalbox.workflow.app import create_app
from signalbox.workflow.direct_query import DirectQuery
from signalbox.workflow.settings import WorkflowSettings

JSON = {"content-type": "application/json"}
BODY = b'{"message": "hello", "session_id": "s"}'


class Answering:
    """Answers every message, and remembers what it was asked."""

    def __init__(self):
        self.asked = []

    async def answer(self, principal, request, idempotency_key):
        self.asked.append((principal.subject, request.message, idempotency_key))
        return QueryReply(
            session_id=request.session_id, message="hi", status="success", turn_id="turn_1", agent_id="a"
        )


async def serve(headers=JSON, pieces=(BODY,), *, local=True):
    """What was answered: status, headers and body, and what the service was asked."""
    answering = Answering()
    tokens = ServiceTokens("a-secret-that-all-services-of-a-test-share", "workflow")
    way = DirectQuery(answering, Authenticator("workflow", tokens, allow_local=local))
    coming = [
        {"type": "http.request", "body": piece, "more_body": number < len(pieces)}
        for number, piece in enumerate(pieces, start=1)
    ]
    sent = []

    async def receive():
        return coming.pop(0) if coming else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    await way({"type": "http", HEADERS: headers}, receive, send)
    start, body = sent
    return start["status"], dict(start["headers"]), body["body"], answering.asked


@pytest.mark.parametrize("pieces", [[BODY], [BODY[:5], BODY[5:]], [b"", BODY, b""]])
async def test_a_message_is_answered_however_its_body_comes(pieces):
    status, headers, body, asked = await serve(pieces=pieces)
    assert status == 200
    assert headers == {b"content-type": b"application/json", b"content-length": str(len(body)).encode()}
    assert QueryReply.model_validate_json(body).message == "hi"
    assert asked == [("local", "hello", None)]


async def test_an_idempotency_key_is_passed_on():
    *_, asked = await serve({**JSON, "idempotency-key": "once"})
    assert asked == [("local", "hello", "once")]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "text/plain"},
        {"content-type": "application/json; charset=utf-8"},
        {**JSON, "idempotency-key": ""},
        {**JSON, "idempotency-key": "k" * 256},
    ],
)
async def test_other_heads_are_left_with_their_body_unread(headers):
    with pytest.raises(NotDirect) as left:
        await serve(headers)
    assert left.value.messages == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"message": "hello"}', BODY[:-1] + b', "more": 1}'])
async def test_other_bodies_are_left_as_they_came(body):
    with pytest.raises(NotDirect) as left:
        await serve(pieces=[body[:2], body[2:]])
    assert [message["body"] for message in left.value.messages] == [body[:2], body[2:]]


async def test_who_has_no_credential_is_not_answered():
    with pytest.raises(Unauthenticated):
        await serve(local=False)


async def test_a_client_that_leaves_in_its_body_is_left():
    with pytest.raises(NotDirect) as left:
        await serve(pieces=[])
    assert left.value.messages == [{"type": "http.disconnect"}]


def test_the_service_answers_queries_by_it(tmp_path):
    app = create_app(WorkflowSettings(data=tmp_path))
    assert app.direct_routes == {("POST", "/api/v1/query")}
