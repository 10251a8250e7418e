"""Examples: an intent that nothing but its examples describes is found, and what is about something else is not."""

from typing import Any

import pytest
from support.public_api import PublicApi, new_session
from support.systems import publish

DOCUMENT: dict[str, Any] = {
    "name": "Library",
    "languages": ["en", "zh"],
    "intents": [
        {
            "id": "borrowed",
            "when": {
                "examples": [
                    "which books have I borrowed",
                    "what have I borrowed from you",
                    "show me the books that I borrowed",
                    "how many books have I got from the library",
                    "我借了哪些书",
                    "我从图书馆借了几本书",
                ]
            },
            "then": {"reply": {"en": "Three books.", "zh": "三本书。"}},
        },
        {
            "id": "extend",
            "when": {
                "examples": [
                    "may I keep it for longer",
                    "please extend my loan",
                    "can I renew this loan for another week",
                    "extend the loan by two weeks",
                    "我想续借",
                    "可以再借一个星期吗",
                ]
            },
            "then": {"reply": {"en": "Extended.", "zh": "已续借。"}},
        },
        {"id": "hours", "when": {"keywords": ["opening hours"]}, "then": {"reply": "From 9 to 17."}},
    ],
    "policies": {"thresholds": {"accept": 0.55}},
}


@pytest.fixture(scope="module")
def library(admin_client: PublicApi) -> dict[str, str]:
    name = new_session("library")
    publish(admin_client, {**DOCUMENT, "workflow_id": name})
    return {"workflow_id": name}


@pytest.mark.parametrize(
    ("message", "intent", "answer"),
    [
        ("Which books did I borrow from the library?", "borrowed", "Three books."),
        ("Can I extend my loan by another week?", "extend", "Extended."),
        ("我从图书馆借了哪些书？", "borrowed", "三本书。"),
    ],
)
def test_examples_alone_find_an_intent(
    client: PublicApi, library: dict[str, str], message: str, intent: str, answer: str
) -> None:
    reply = client.query(message, **library)
    assert (reply["message"], reply["status"]) == (answer, "success")
    decision = reply["decision"]
    assert (decision["stage"], decision["intent"]) == ("example", intent)
    assert 0.55 <= decision["score"] <= 1
    assert decision["took_us"] > 0


def test_rules_come_first(client: PublicApi, library: dict[str, str]) -> None:
    decision = client.query("opening hours for books that I borrowed", **library)["decision"]
    assert (decision["stage"], decision["intent"]) == ("rule", "hours")


@pytest.mark.parametrize("message", ["What is the weather in Lisbon tomorrow?", "今天天气怎么样", "zzz"])
def test_what_is_about_something_else_is_not_decided_by_examples(
    client: PublicApi, library: dict[str, str], message: str
) -> None:
    assert client.query(message, **library)["decision"]["stage"] != "example"
