"""``POST /api/v1/query``: shape, statuses, greeting, decision, language."""

import json
from typing import Any

import httpx
import pytest
from support.public_api import Problem, PublicApi, new_session

from signalbox_fake_provider import FakeProvider


def test_a_reply_has_every_field_of_the_guide(client: PublicApi) -> None:
    session = new_session()
    reply = client.query(
        "hello", session, metadata={"channel": "test"}, timezone="Europe/Paris", language="en"
    )
    assert reply["session_id"] == session
    assert reply["status"] == "success"
    assert reply["agent_id"] == "shop"
    assert reply["message"].startswith(reply["greeting"])
    assert len(reply["trace_id"]) == 32
    assert reply["turn_id"] != client.query("hello", session)["turn_id"]


def test_the_greeting_comes_once_and_before_the_answer(client: PublicApi) -> None:
    session = new_session()
    first, second = client.query("hello", session), client.query("hello", session)
    greeting, answer = first["greeting"], second["message"]
    assert greeting == "Hello, this is the shop's assistant."
    assert first["message"] == f"{greeting}\n\n{answer}"
    assert second.get("greeting") is None
    assert client.session(session)["workflow_state"]["need_greeting"] is False


def test_a_decision_names_stage_score_and_time(client: PublicApi) -> None:
    decision = client.query("is XYZ-9999 in stock?")["decision"]
    assert (decision["stage"], decision["intent"], decision["score"]) == ("rule", "stock_check", 1.0)
    assert 0 < decision["took_us"] < 1_000_000


@pytest.mark.parametrize(
    ("message", "language", "text"),
    [
        ("hello", None, "I can look up orders"),
        ("你好", None, "我可以帮您查询订单"),
        ("hello", "zh", "我可以帮您查询订单"),
        ("hello", "zh-Hans", "我可以帮您查询订单"),
        ("hello", "fr", "I can look up orders"),
    ],
)
def test_the_answer_is_in_the_users_language(
    client: PublicApi, message: str, language: str | None, text: str
) -> None:
    more = {"language": language} if language else {}
    reply = client.query(message, **more)
    assert text in reply["message"]
    assert reply["language"] == ("zh" if "我" in text else "en")


def test_a_session_keeps_its_language_until_another_script_is_written(client: PublicApi) -> None:
    session = new_session()
    assert client.query("你好", session)["language"] == "zh"
    assert client.query("1042", session, language="zh")["language"] == "zh"
    assert client.query("where is my order 1042?", session, language="en")["language"] == "en"


@pytest.mark.parametrize(
    ("message", "status", "session_status"),
    [
        ("hello", "success", "active"),
        ("where is my order?", "waiting", "waiting"),
        ("I want to talk to a human", "handoff", "transferred"),
        ("that's all, goodbye", "closed", "closed"),
    ],
)
def test_statuses_of_the_shop(client: PublicApi, message: str, status: str, session_status: str) -> None:
    session = new_session()
    assert client.query(message, session)["status"] == status
    assert client.session(session)["workflow_state"]["status"] == session_status


def test_a_failing_tool_is_a_committed_turn_of_status_error(client: PublicApi, probe: dict[str, Any]) -> None:
    session = new_session()
    reply = client.query("read status 500", session, **probe)
    assert (reply["status"], reply["reason"]) == ("error", "upstream_error")
    assert client.history(session)[-1] == ("assistant", reply["message"])


def test_a_model_that_fails_is_a_degraded_turn_that_says_why(
    client: PublicApi, provider: FakeProvider, probe: dict[str, Any]
) -> None:
    provider.script([{"fault": {"status": 500}}])
    session = new_session()
    reply = client.query("what could this mean? 7fj2", session, **probe)
    assert reply["status"] == "degraded"
    assert reply["reason"]
    assert reply["message"] == "Welcome.\n\nI am not at my best right now."
    assert client.query("say it", session, **probe)["status"] == "success"


def test_without_a_rule_the_model_decides(
    client: PublicApi, provider: FakeProvider, probe: dict[str, Any]
) -> None:
    answer = {"json": {"intent": "weather", "confidence": 0.9, "parameters": {"sky": "cloudy"}}}
    provider.script([{"match": {"last_user_contains": "umbrella 81h"}, "reply": answer}])
    reply = client.query("do I need an umbrella 81h", **probe)
    decision = reply["decision"]
    assert (decision["stage"], decision["intent"], decision["score"]) == ("llm", "weather", 0.9)
    assert reply["message"].endswith("It will be cloudy.")


@pytest.mark.parametrize(
    "answer", [{"json": {"intent": "weather", "confidence": 0.2, "parameters": {}}}, "no"]
)
def test_a_model_that_is_not_sure_falls_back(
    client: PublicApi, provider: FakeProvider, probe: dict[str, Any], answer: Any
) -> None:
    provider.script([{"match": {"last_user_contains": "hm 9c"}, "reply": answer}])
    reply = client.query("hm 9c", **probe)
    assert (reply["decision"]["stage"], reply["status"]) == ("none", "success")
    assert reply["message"].endswith("I did not get that.")


def test_a_workflow_is_named_or_the_sessions_or_the_default(client: PublicApi, probe: dict[str, Any]) -> None:
    session = new_session()
    assert client.query("say hi", session, **probe)["agent_id"] == "probe"
    assert client.query("say hi", session)["message"] == "You said hi."
    assert client.query("hello")["agent_id"] == "shop"
    with pytest.raises(Problem) as refused:
        client.query("hello", workflow_id="nobody-published-this")
    assert (refused.value.status, refused.value.code) == (404, "no_release")


def test_a_person_who_took_over_is_not_interrupted(client: PublicApi, probe: dict[str, Any]) -> None:
    session = new_session()
    client.query("a person please", session, **probe)
    reply = client.query("say something", session)
    assert (reply["status"], reply["message"]) == ("handoff", "")
    assert client.history(session)[2] == ("user", "say something")


def test_a_closed_session_starts_afresh(client: PublicApi, probe: dict[str, Any]) -> None:
    session = new_session()
    assert client.query("bye", session, **probe)["status"] == "closed"
    reply = client.query("say again", session)
    assert reply["message"] == "Welcome.\n\nYou said again."
    assert len(client.history(session)) == 4


@pytest.mark.usefixtures("with_keys")
def test_health_tells_more_to_those_it_knows(client: PublicApi, admin_client: PublicApi) -> None:
    mine = client.call("GET", "/api/v1/health")
    releases = admin_client.call("GET", "/admin/api/v1/releases", params={"workflow_id": "shop"})["items"]
    active = next(item for item in releases if item["active"])
    assert mine["status"] == "healthy"
    assert mine["config_hash"] == active["config_hash"]
    assert isinstance(mine["sessions_count"], int)
    assert httpx.get(f"{client.url}/api/v1/health").json() == {"status": "healthy"}


def test_a_query_is_answered_the_same_by_the_direct_way_and_by_the_route(client: PublicApi) -> None:
    """The direct way takes plain ``application/json`` alone: a parameter leaves the request to the route."""
    answers = [
        client.http.post(
            "/api/v1/query",
            content=json.dumps({"message": "hello", "session_id": new_session()}),
            headers={"content-type": media_type},
        )
        for media_type in ("application/json", "application/json; charset=utf-8")
    ]
    direct, routed = answers
    assert direct.status_code == routed.status_code == 200
    assert set(direct.headers) == set(routed.headers)
    assert direct.headers["content-type"] == routed.headers["content-type"]
    assert list(direct.json()) == list(routed.json())
    assert direct.json()["message"] == routed.json()["message"]
