"""The direct way of a skill's run: what it answers, and what it leaves to the route."""

import orjson
import pytest

from signalbox.common.auth import Authenticator, ServiceTokens
from signalbox.common.errors import Forbidden, Unauthenticated
from signalbox.common.web.direct import NotDirect
from signalbox.common.web.middleware import HEADERS
from signalbox.contracts.events import TextData, TextEvent
from signalbox.contracts.identity import Principal, Scope
from signalbox.contracts.work import SkillResult, SkillResultFrame
from signalbox.skills.app import create_app
from signalbox.skills.direct_run import DirectRun
from signalbox.skills.settings import SkillsSettings

TOKENS = ServiceTokens("a-secret-that-all-services-of-a-test-share", "workflow")
CALLER = Principal(tenant="acme", subject="key:1", scopes=frozenset({Scope.QUERY}))
RUN = {
    "context": {
        "tenant": "acme", "subject": "key:1", "workflow_id": "shop", "config_hash": "a" * 64,
        "session_id": "s", "turn_id": "t", "now_ms": 0,
    },
    "run_id": "run_1",
    "skill": "agent",
    "message": "where is it?",
}  # fmt: skip
BODY = orjson.dumps(RUN)


def head(caller=CALLER):
    """The headers of a service that calls for somebody; made when they are used, as a token is good for two minutes."""
    return {"content-type": "application/json", "authorization": f"Bearer {TOKENS.mint('skills', caller)}"}


class Runs:
    """Runs that say something and are over."""

    def __init__(self):
        self.prepared = []

    async def prepare(self, request, principal):
        self.prepared.append((request.run_id, principal.tenant))

        async def work(emit):
            emit(TextEvent(data=TextData(delta="Shipped.")))
            return SkillResultFrame(result=SkillResult(status="completed", message="Shipped."))

        return work


@pytest.fixture
def runs():
    return Runs()


async def serve(runs, headers=None, body=BODY, *, local=False):
    """What was sent."""
    way = DirectRun(runs, Authenticator("skills", TOKENS, allow_local=local))
    coming = [{"type": "http.request", "body": body, "more_body": False}]
    sent = []

    async def receive():
        return coming.pop(0)

    async def send(message):
        sent.append(message)

    await way({"type": "http", HEADERS: headers or head()}, receive, send)
    return sent


async def test_a_run_answers_with_frames_of_which_the_last_ends_the_answer(runs):
    start, *pieces = await serve(runs)
    assert (start["status"], start["headers"]) == (200, [(b"content-type", b"application/x-ndjson")])
    assert [piece["more_body"] for piece in pieces] == [True] * (len(pieces) - 1) + [False]
    text, result = [orjson.loads(line) for line in b"".join(piece["body"] for piece in pieces).splitlines()]
    assert text["event"]["data"] == {"delta": "Shipped."}
    assert result["result"]["status"] == "completed"
    assert runs.prepared == [("run_1", "acme")]


@pytest.mark.parametrize("body", [b"", b"{", orjson.dumps({**RUN, "skill": "no name"})])
async def test_other_bodies_are_left_as_they_came(runs, body):
    with pytest.raises(NotDirect) as left:
        await serve(runs, body=body)
    assert [message["body"] for message in left.value.messages] == [body]
    assert not runs.prepared


async def test_only_services_may_run_skills_and_for_their_tenant(runs):
    unnamed = {"content-type": "application/json"}
    with pytest.raises(Unauthenticated):
        await serve(runs, unnamed)
    with pytest.raises(Forbidden):
        await serve(runs, unnamed, local=True)
    with pytest.raises(Forbidden):
        await serve(runs, body=orjson.dumps({**RUN, "context": {**RUN["context"], "tenant": "other"}}))
    assert not runs.prepared


def test_the_service_runs_skills_by_it(tmp_path):
    app = create_app(SkillsSettings(data=tmp_path))
    assert app.direct_routes == {("POST", "/internal/v1/skills/run")}
