"""Which language a turn is answered in."""

import pytest
from support.workflow_stage import CONFIG, flow_result, understood

from signalbox.workflow.language import choose_language, detected_language

EN_ZH = ["en", "zh"]


@pytest.mark.parametrize(
    ("languages", "requested", "session", "message", "chosen"),
    [
        (EN_ZH, None, None, "where is it?", "en"),
        (EN_ZH, None, None, "在哪里?", "zh"),
        (EN_ZH, "zh", None, "where is it?", "zh"),
        (EN_ZH, "zh-TW", "en", "hi", "zh"),
        (EN_ZH, "fr", "zh", "1042", "zh"),
        (EN_ZH, "fr", None, "bonjour", "en"),
        (EN_ZH, None, "zh", "1042", "zh"),
        (EN_ZH, None, "zh", "A-1042", "zh"),
        (EN_ZH, None, "zh", "ok", "zh"),
        (EN_ZH, None, "zh", "John Smith", "zh"),
        (EN_ZH, None, "en", "订单 1042 在哪", "zh"),
        (EN_ZH, None, "zh", "where is my order now?", "en"),
        (["zh", "en"], None, None, "where is my order now?", "en"),
        (["zh", "ja"], None, None, "where is my order now?", "zh"),
        (["en", "zh-Hant"], None, None, "在哪里?", "zh-Hant"),
        (["en", "zh-Hans", "zh-Hant"], "zh-Hant", None, "hi", "zh-Hant"),
        (["en"], None, None, "在哪里?", "en"),
        (["en", "ja", "zh"], None, None, "どこですか", "ja"),
        (["en", "zh"], None, None, "どこですか", "en"),
        (["en", "ko"], None, None, "어디에 있나요", "ko"),
        (["de", "en"], None, "en", "Wo ist meine Bestellung jetzt?", "de"),
        (["de", "en"], None, "de", "Where is my order now?", "en"),
        (["de", "en"], None, "de", "status please", "de"),
        (["de", "en"], None, "de", "OK in 2 Tagen", "de"),
        (["en", "es", "pt"], None, None, "¿Dónde está mi pedido?", "es"),
        (["en", "es", "pt"], None, None, "Onde está o meu pedido?", "pt"),
        (["en", "fr", "it"], None, None, "Où est ma commande, s'il vous plaît ?", "fr"),
        (["en", "fr", "it"], None, None, "Dove è il mio pacco?", "it"),
        (["en", "nl"], None, "en", "Waar is mijn pakket nu?", "nl"),
        (["zh", "de", "en"], None, "zh", "Wo ist meine Bestellung?", "de"),
        (["en-GB", "en-US"], None, "en-US", "where is the order that I made", "en-US"),
        (["en", "ru"], None, None, "где мой заказ", "ru"),
        (["en", "uk"], None, None, "де моє замовлення", "uk"),
        (["en", "ar"], None, None, "أين طلبي", "ar"),
        (["en", "zh-Hans", "zh-Hant"], None, None, "訂單在哪裡", "zh-Hant"),
        (["en", "zh-Hans", "zh-TW"], None, "zh-Hans", "訂單在哪裡", "zh-TW"),
        (["en", "zh-Hant", "zh-Hans"], None, None, "订单在哪里", "zh-Hans"),
        (["en", "zh-Hans", "zh-Hant"], None, "zh-Hant", "你好", "zh-Hant"),
        (["en", "zh-Hans", "zh-Hant"], None, "en", "你好", "zh-Hans"),
        (["en", "zh-Hans", "zh-Hant"], "zh-HK", None, "hi", "zh-Hant"),
        (["en", "zh"], None, "fr", "hello", "en"),
    ],
)
def test_the_language_of_a_turn(languages, requested, session, message, chosen):
    assert choose_language(languages, requested, session, message) == chosen


@pytest.mark.parametrize(
    ("message", "language"),
    [
        ("", None),
        ("1042 !?", None),
        ("🚚📦", None),
        ("?!,。", None),
        ("订单", "zh"),
        ("漢字かな", "ja"),
        ("カタカナ", "ja"),
        ("한국어 漢字", "ko"),
        ("Ünïcödé", None),
        ("заказ", "ru"),
        ("สวัสดี", "th"),
    ],
)
def test_the_language_that_a_script_tells(message, language):
    assert detected_language(message) == language


async def test_a_text_that_is_not_translated_is_said_and_told(stage):
    intents = [
        {"id": "plain", "when": {"keywords": ["plain", "普通"]}, "then": {"reply": "Only English."}},
        {
            "id": "both",
            "when": {"keywords": ["both", "都有"]},
            "then": {"reply": {"en": "Yes.", "zh": "有。"}},
        },
        {"id": "symbol", "when": {"keywords": ["symbol", "符号"]}, "then": {"reply": "{{ 40 + 2 }}!"}},
        {"id": "person", "when": {"keywords": ["人工"]}, "then": {"action": "handoff"}},
        {"id": "flow", "when": {"keywords": ["流程"]}, "then": {"flow": "track"}},
    ]
    stage.releases.publish({**CONFIG, "intents": intents, "greeting": None})
    stage.gateway.answers = [understood("none", 0)]
    stage.flows.answers = [flow_result("Done.", untranslated=["en"])]
    asked = ["普通", "都有", "符号", "你说什么", "流程", "人工"]
    replies = [await stage.ask(message, "zh") for message in asked]
    assert [reply.untranslated for reply in replies] == [["en"], [], [], [], ["en"], ["en"]]
    assert replies[0].message == "Only English."
    assert (await stage.ask("plain", "en")).untranslated == []


async def test_a_greeting_and_built_in_words_in_another_language_are_told_too(stage):
    stage.releases.publish({**CONFIG, "languages": ["de", "fr"], "greeting": {"fr": "Bonjour."}})
    stage.gateway.answers = [understood("none", 0)]
    reply = await stage.ask("Wie bitte?")
    assert (reply.language, reply.untranslated) == ("de", ["en", "fr"])
