"""Which language a turn is answered in."""

import pytest

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
