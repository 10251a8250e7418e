"""An unclear message: the user is asked which intent was meant, and a choice goes on without another decision."""

from typing import Any

import pytest
from support.public_api import PublicApi, new_session
from support.systems import RunningSystem, publish

from signalbox_fake_provider import FakeProvider

DOCUMENT: dict[str, Any] = {
    "name": "Library",
    "languages": ["en", "zh"],
    "intents": [
        {
            "id": "extend",
            "label": {"en": "Keep a book for longer", "zh": "续借"},
            "then": {
                "reply": {
                    "en": "Extended by {{ parameters.weeks }}.",
                    "zh": "已续借{{ parameters.weeks }}周。",
                }
            },
            "parameters": {"weeks": {"type": "integer"}},
        },
        {
            "id": "return",
            "label": {"en": "Bring a book back", "zh": "还书"},
            "then": {"reply": {"en": "Thank you.", "zh": "谢谢。"}},
        },
        {"id": "hours", "when": {"keywords": ["opening hours"]}, "then": {"reply": "From 9 to 17."}},
    ],
    "llm": {"match": {"model": "fake-model"}},
}
UNSURE = {
    "intent": "extend",
    "confidence": 0.45,
    "alternatives": [{"intent": "return", "confidence": 0.4}],
    "parameters": {"weeks": "三"},
}


@pytest.fixture(scope="module")
def library(admin_client: PublicApi) -> dict[str, str]:
    name = new_session("clarify")
    publish(admin_client, {**DOCUMENT, "workflow_id": name})
    return {"workflow_id": name}


def unsure(provider: FakeProvider, token: str) -> None:
    three = {**UNSURE, "parameters": {"weeks": "3"}}
    provider.script(
        [
            {"match": {"last_user_contains": f"三 {token}"}, "reply": {"json": UNSURE}},
            {"match": {"last_user_contains": token}, "reply": {"json": three}},
        ]
    )


@pytest.mark.parametrize(
    ("message", "label", "answer", "intent", "text"),
    [
        ("my book 3", "Keep a book for longer", "extend", "extend", "Extended by 3."),
        ("my book 3", "Keep a book for longer", "the second one", "return", "Thank you."),
        ("我的书 三", "续借", "第一个", "extend", "已续借3周。"),
        ("我的書 三", "续借", "还书", "return", "谢谢。"),
    ],
)
def test_a_choice_goes_on_without_a_model(
    client: PublicApi,
    provider: FakeProvider,
    library: dict[str, str],
    message: str,
    label: str,
    answer: str,
    intent: str,
    text: str,
) -> None:
    token, session = new_session("tok"), new_session()
    unsure(provider, token)
    asked = client.query(f"{message} {token}", session, **library)
    assert (asked["status"], asked["decision"]["stage"]) == ("clarify", "llm")
    [part] = asked["parts"]
    assert [choice["value"] for choice in part["choices"]] == ["extend", "return"]
    assert part["choices"][0]["label"] == label
    assert f"1. {label}" in asked["message"]
    reply = client.query(answer, session)
    assert (reply["message"], reply["status"]) == (text, "success")
    decision = reply["decision"]
    assert (decision["stage"], decision["intent"], decision["score"]) == (
        "choice",
        intent,
        0.45 if intent == "extend" else 0.4,
    )
    assert decision["took_us"] > 0
    assert len(provider.requests()) == 1


def test_something_else_is_matched_afresh(
    client: PublicApi, provider: FakeProvider, library: dict[str, str]
) -> None:
    token, session = new_session("tok"), new_session()
    unsure(provider, token)
    assert client.query(f"my book {token}", session, **library)["status"] == "clarify"
    assert client.query("what are your opening hours?", session)["decision"]["stage"] == "rule"
    provider.script([{"reply": {"json": {**UNSURE, "intent": "none", "confidence": 0}}}])
    assert client.query("1", session)["decision"]["stage"] == "none"


def test_a_streamed_question_is_the_same_question(
    client: PublicApi, provider: FakeProvider, library: dict[str, str]
) -> None:
    token, session = new_session("tok"), new_session()
    unsure(provider, token)
    frames = client.stream(f"my book {token}", session, **library)
    assert [frame.type for frame in frames] == ["start", "usage", "intent", "text", "complete"]
    complete = frames[-1].data
    assert (complete["status"], frames[-2].data["delta"]) == ("clarify", complete["message"])
    assert client.query("2", session)["decision"]["intent"] == "return"


@pytest.mark.parametrize("system", ["services"], indirect=True)
def test_replicas_share_what_a_model_decided(
    client: PublicApi, system: RunningSystem, provider: FakeProvider, library: dict[str, str]
) -> None:
    token = new_session("tok")
    unsure(provider, token)
    cached = []
    for url in system.workflow_urls():
        replica = PublicApi(url, client.key)
        cached.append(replica.query(f"my book 3 {token}", **library)["decision"]["cached"])
        replica.close()
    assert cached == [False, *[True] * (len(cached) - 1)]
    assert len(cached) > 1
    assert len(provider.requests()) == 1


def test_a_model_is_asked_once_about_the_same_message(
    client: PublicApi, provider: FakeProvider, library: dict[str, str]
) -> None:
    token = new_session("tok")
    sure = {"intent": "extend", "confidence": 0.9, "alternatives": [], "parameters": {"weeks": 3}}
    provider.script([{"match": {"last_user_contains": token}, "reply": {"json": sure}}])
    first = client.query(f"for 3 weeks {token}", **library)
    again = client.query(f"for 3 weeks  {token}", **library)
    assert first["message"] == again["message"] == "Extended by 3."
    assert [reply["decision"]["cached"] for reply in (first, again)] == [False, True]
    assert again["decision"]["stage"] == "llm"
    assert len(provider.requests()) == 1
    metrics = client.http.get("/metrics")
    if metrics.status_code == 200 and "signalbox_plan_cache" in metrics.text:
        assert 'signalbox_plan_cache_lookups_total{result="hit"}' in metrics.text
