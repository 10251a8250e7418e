"""Languages: a turn's may change in the middle of a flow, scripts and numerals are understood, and gaps are seen."""

from typing import Any

import pytest
from support.public_api import PublicApi, new_session
from support.systems import publish

DOCUMENT: dict[str, Any] = {
    "name": "Inn",
    "languages": ["en", "zh"],
    "intents": [
        {
            "id": "book",
            "when": {"patterns": ["訂.*位", r"\bbook\b"]},
            "then": {"flow": "book"},
            "parameters": {
                "day": {"type": "date"},
                "seats": {"type": "integer", "pattern": r"(\d+)\s*(?:位|seats)"},
            },
        },
        {"id": "menu", "when": {"keywords": ["menu", "菜单"]}, "then": {"reply": "Soup."}},
    ],
    "flows": [
        {
            "id": "book",
            "slots": [
                {"id": "day", "type": "date", "prompt": {"en": "Which day?", "zh": "哪一天？"}},
                {"id": "seats", "type": "integer", "prompt": {"en": "How many seats?", "zh": "几位？"}},
                {"id": "name", "type": "text", "prompt": {"en": "In which name?", "zh": "怎么称呼？"}},
            ],
            "steps": [
                {"type": "ask", "slot": "day"},
                {"type": "ask", "slot": "seats"},
                {"type": "ask", "slot": "name"},
                {
                    "type": "reply",
                    "text": {
                        "en": "{{ slots.day }}: {{ slots.seats }} for {{ slots.name }}.",
                        "zh": "{{ slots.day }}，{{ slots.seats }}位，{{ slots.name }}。",
                    },
                },
            ],
        }
    ],
}


@pytest.fixture(scope="module")
def inn(admin_client: PublicApi) -> dict[str, str]:
    name = new_session("inn")
    published = publish(admin_client, {**DOCUMENT, "workflow_id": name})
    snapshot: Any = published["snapshot"]
    warnings = [(entry["code"], entry["pointer"]) for entry in snapshot["warnings"]]
    assert ("missing_translation", "/intents/1/then/reply") in warnings
    return {"workflow_id": name}


def test_the_language_changes_within_a_flow_and_slots_stay(client: PublicApi, inn: dict[str, str]) -> None:
    session = new_session()
    first = client.query("I want to book a table for 2027-01-02", session, **inn)
    assert (first["message"], first["language"], first["status"]) == ("How many seats?", "en", "waiting")
    second = client.query("四位", session)
    assert (second["message"], second["language"]) == ("怎么称呼？", "zh")
    third = client.query("陳偉", session, language="en")
    assert (third["message"], third["language"]) == ("2027-01-02: 4 for 陳偉.", "en")


@pytest.mark.parametrize(
    "message", ["我要订十二位 2027年1月2日", "我要訂十二位，二〇二七年一月二號", "我要訂１２位 2027-01-02"]
)
def test_numerals_dates_scripts_and_widths(client: PublicApi, inn: dict[str, str], message: str) -> None:
    session = new_session()
    assert client.query(message, session, **inn)["message"] == "怎么称呼？"
    assert client.query("王", session)["message"] == "2027-01-02，12位，王。"


def test_relative_dates_count_where_the_user_is(client: PublicApi, inn: dict[str, str]) -> None:
    days = set()
    for zone in ("Pacific/Kiritimati", "Pacific/Niue"):
        session = new_session()
        client.query("我要訂兩位 後天", session, timezone=zone, **inn)
        days.add(client.query("王", session)["message"].split("，")[0])
    # 25 hours lie between them: it is never the same day.
    assert len(days) == 2


def test_a_missing_translation_is_seen(client: PublicApi, inn: dict[str, str]) -> None:
    reply = client.query("菜單", **inn)
    assert (reply["message"], reply["language"], reply["untranslated"]) == ("Soup.", "zh", ["en"])
    assert client.query("menu", **inn)["untranslated"] == []
