"""Examples: an intent that nothing but its examples describes is found, and what is about something else is not."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.public_api import PublicApi, new_session
from support.systems import publish
from support.waiting import eventually

from signalbox_fake_provider import FakeProvider

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
def published(admin_client: PublicApi) -> dict[str, str]:
    name = new_session("library")
    published: Any = publish(admin_client, {**DOCUMENT, "workflow_id": name})
    return {"workflow_id": name, "config_hash": published["snapshot"]["config_hash"]}


@pytest.fixture
def library(published: dict[str, str]) -> dict[str, str]:
    return {"workflow_id": published["workflow_id"]}


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


def test_the_report_that_evaluate_prints_is_kept_with_the_snapshot(
    admin_client: PublicApi, published: dict[str, str], tmp_path: Path
) -> None:
    shown = admin_client.call("GET", f"/admin/api/v1/snapshots/{published['config_hash']}")
    kept = shown["reports"]["examples-report"]["examples"]
    file = tmp_path / "workflow.json"
    file.write_text(json.dumps({**DOCUMENT, "workflow_id": published["workflow_id"]}))
    command = [sys.executable, "-m", "signalbox.common.cli", "intents", "evaluate", "--json", str(file)]
    printed = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)
    assert (kept["intents"], kept["examples"]) == (2, 12)
    timed = {"seconds", "memory_bytes"}
    assert {k: v for k, v in kept.items() if k not in timed} == {
        k: v for k, v in printed.items() if k not in timed
    }


def test_a_models_vectors_are_a_second_view_and_words_do_without_it(
    client: PublicApi, admin_client: PublicApi, provider: FakeProvider
) -> None:
    """Publishing embeds the examples, a message its text; a provider that fails costs nobody an answer."""
    name, word = new_session("vectors"), new_session("word")
    publish(admin_client, {**DOCUMENT, "workflow_id": name, "llm": {"embed": {"model": "fake-embedding"}}})
    examples = [text for intent in DOCUMENT["intents"] for text in intent["when"].get("examples", [])]
    assert set(examples) <= set(_embedded(provider))

    message = f"please could you extend the loan {word}"
    reply = client.query(message, workflow_id=name)
    assert (reply["message"], reply["decision"]["stage"]) == ("Extended.", "example")
    assert _embedded(provider).count(message) == 1
    params = {"by": "purpose", "workflow": name}
    [line] = eventually(
        lambda: admin_client.call("GET", "/llm/v1/usage", params=params)["lines"], "the books have it", 10.0
    )
    assert line["purpose"] == "embedding"
    assert line["input_tokens"] > 0

    provider.script([{"match": {"endpoint": "embeddings"}, "fault": {"status": 400}}])
    reply = client.query(f"{message} again", workflow_id=name)
    assert (reply["message"], reply["decision"]["stage"]) == ("Extended.", "example")
    assert f"{message} again" in _embedded(provider)


def _embedded(provider: FakeProvider) -> list[str]:
    requests = [request for request in provider.requests() if request.path.endswith("/embeddings")]
    return [text for request in requests for text in request.body["input"]]
