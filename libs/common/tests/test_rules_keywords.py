import pytest

from signalbox.common.rules import BadPattern, Re2Engine, keyword_rule, normalise


@pytest.mark.parametrize(
    ("keyword", "text", "found"),
    [
        ("refund", "I want a REFUND, please", True),
        ("refund", "refunds are slow", False),
        ("refund", "prefund", False),
        ("refund", "我要refund吧", True),
        ("refund", "re-fund", False),
        ("re fund", "re   fund", True),
        ("caf", "un café svp", False),
        ("café", "un CAFÉ.", True),
        ("cafe\u0301", "café", True),
        ("für", "dafür", False),
        ("für", "für dich", True),
        ("привет", "Привет, мир", True),
        ("привет", "приветы", False),
        ("退款", "我要退款了", True),
        ("退款", "退货", False),
        ("订单 状态", "订单 状态", True),
        ("返品", "商品を返品したい", True),
        ("환불", "환불해 주세요", True),
        ("คืนเงิน", "ขอคืนเงินครับ", True),
        ("ｒｅｆｕｎｄ", "a refund", True),
        ("refund", "ａ　ｒｅｆｕｎｄ！", True),
        ("C++", "I use c++ daily", True),
        ("C++", "C+", False),
        (".net", "asp.net", True),
        ("a.b", "axb", False),
        ("24/7", "open 24/7?", True),
        ("24/7", "124/7", False),
        ("no", "noël", False),
        ("no", "no—thanks", True),
        ("👍", "ok👍👍", True),
    ],
)
def test_keywords_have_the_boundaries_of_their_script(keyword, text, found):
    rules = Re2Engine().compile([keyword_rule(1, keyword)])
    assert (rules.match(normalise(text)) == [1]) is found


def test_the_place_of_a_keyword_is_the_keyword():
    rules = Re2Engine().compile([keyword_rule(1, "refund")])
    found = rules.find(1, "my refund now")
    assert found is not None
    assert found.value == "refund"


def test_an_empty_keyword_is_refused():
    with pytest.raises(BadPattern):
        keyword_rule(1, " \u3000")


def test_many_keywords_stay_small():
    rules = [keyword_rule(number, f"keyword{number} très") for number in range(5_000)]
    compiled = Re2Engine().compile(rules)
    assert compiled.match("voici keyword4242 très bien") == [4242]
    assert compiled.match("voici keyword4242 trèsx bien") == []
