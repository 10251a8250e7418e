"""The direct way of a tool call: what it answers, and what it leaves to the route."""

import orjson
import pytest

from signalbox.common.auth import Authenticator, ServiceTokens
from signalbox.common.errors import Forbidden, Unauthenticated
from signalbox.common.web.direct import NotDirect
from signalbox.common.web.middleware import HEADERS
from signalbox.contracts.identity import Principal, Scope
from signalbox.contracts.work import ToolCallReply
from signalbox.tools.app import create_app
from signalbox.tools.direct_call import DirectCall
from signalbox.tools.settings import ToolsSettings

TOKENS = ServiceTokens("a-secret-that-all-services-of-a-test-share", "workflow")
CALLER = Principal(tenant="acme", subject="key:1", scopes=frozenset({Scope.QUERY}))
CALL = {
    "context": {
        "tenant": "acme", "subject": "key:1", "workflow_id": "shop", "config_hash": "a" * 64,
        "session_id": "s", "turn_id": "t", "now_ms": 0,
    },
    "tool": "get_order",
    "arguments": {"order_number": 7},
    "idempotency_key": "t/1",
}  # fmt: skip
BODY = orjson.dumps(CALL)


def head(caller=CALLER):
    """The headers of a service that calls for somebody; made when they are used, as a token is good for two minutes."""
    return {"content-type": "application/json", "authorization": f"Bearer {TOKENS.mint('tools', caller)}"}


class Calls:
    """Makes every call, and remembers it."""

    def __init__(self):
        self.made = []

    async def call(self, request):
        self.made.append((request.tool, request.arguments, request.idempotency_key))
        return ToolCallReply(ok=True, output={"status": "shipped"}, took_ms=1.0)


async def serve(calls, headers=None, pieces=(BODY,), *, local=False):
    """The status, headers and body of the answer."""
    way = DirectCall(calls, Authenticator("tools", TOKENS, allow_local=local))
    coming = [
        {"type": "http.request", "body": piece, "more_body": number < len(pieces)}
        for number, piece in enumerate(pieces, start=1)
    ]
    sent = []

    async def receive():
        return coming.pop(0) if coming else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    await way({"type": "http", HEADERS: headers or head()}, receive, send)
    start, body = sent
    return start["status"], dict(start["headers"]), body["body"]


@pytest.fixture
def calls():
    return Calls()


@pytest.mark.parametrize("pieces", [[BODY], [BODY[:5], BODY[5:]], [b"", BODY, b""]])
async def test_a_call_is_made_however_its_body_comes(calls, pieces):
    status, headers, body = await serve(calls, pieces=pieces)
    assert status == 200
    assert headers == {b"content-type": b"application/json", b"content-length": str(len(body)).encode()}
    assert ToolCallReply.model_validate_json(body).output == {"status": "shipped"}
    assert calls.made == [("get_order", {"order_number": 7}, "t/1")]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", orjson.dumps({**CALL, "tool": "no name"})])
async def test_other_bodies_are_left_as_they_came(calls, body):
    with pytest.raises(NotDirect) as left:
        await serve(calls, pieces=[body[:2], body[2:]])
    assert [message["body"] for message in left.value.messages] == [body[:2], body[2:]]
    assert not calls.made


async def test_another_content_type_is_left_with_its_body_unread(calls):
    with pytest.raises(NotDirect) as left:
        await serve(calls, {**head(), "content-type": "text/plain"})
    assert left.value.messages == []


async def test_only_services_may_call(calls):
    unnamed = {"content-type": "application/json"}
    with pytest.raises(Unauthenticated):
        await serve(calls, unnamed)
    with pytest.raises(Forbidden):
        await serve(calls, unnamed, local=True)
    assert not calls.made


@pytest.mark.parametrize("context", [{"tenant": "other"}, {"workflow_id": "hidden"}])
async def test_a_credential_is_for_its_tenant_and_workflows(calls, context):
    caller = Principal(
        tenant="acme", subject="key:1", scopes=frozenset({Scope.QUERY}), workflows=frozenset({"shop"})
    )
    body = orjson.dumps({**CALL, "context": {**CALL["context"], **context}})
    with pytest.raises(Forbidden):
        await serve(calls, head(caller), [body])
    assert not calls.made


def test_the_service_makes_calls_by_it(tmp_path):
    app = create_app(ToolsSettings(data=tmp_path))
    assert app.direct_routes == {("POST", "/internal/v1/tools/call")}
