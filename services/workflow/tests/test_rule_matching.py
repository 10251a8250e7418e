"""Rules, and the parameters that they find."""

from datetime import date

import pytest
from support.admin_stand_in import hash_of
from support.workflow_stage import CONFIG, compiled

from signalbox.common.kept_files import KeptFiles
from signalbox.common.rules import DEFAULT_MEMORY, Re2Engine, normalise
from signalbox.contracts.admin import BuildRequest, SnapshotDocument
from signalbox.contracts.config import Intent, Parameter, Route
from signalbox.workflow.build import Builder
from signalbox.workflow.matching import RuleMatcher
from signalbox.workflow.matching.parameters import ParameterReader, coerce
from signalbox.workflow.snapshot import SnapshotCompiler

SATURDAY = date(2026, 11, 28)


def intent(name, *patterns, keywords=(), priority=0, **parameters):
    return Intent.model_validate(
        {
            "id": name,
            "when": {"patterns": list(patterns), "keywords": list(keywords)},
            "then": {"reply": "x"},
            "priority": priority,
            "parameters": parameters,
        }
    )


def match(text, *intents):
    hit = RuleMatcher(intents, Re2Engine()).match(normalise(text))
    return None if hit is None else hit.intent.id


def parameters(text, given):
    return RuleMatcher([given], Re2Engine()).match(normalise(text)).parameters


def test_no_rule_is_no_hit():
    assert match("hello", intent("a", "bye")) is None
    assert match("hello") is None
    assert match("hello", intent("a")) is None


def test_the_highest_priority_wins_however_short_its_match():
    assert match("cancel my order", intent("a", "cancel my order"), intent("b", "my", priority=1)) == "b"
    assert match("x y", intent("a", "x", priority=-1), intent("b", "y", priority=-2)) == "a"


def test_then_the_longest_match():
    assert match("cancel my order", intent("a", "order"), intent("b", "my order")) == "b"
    assert match("cancel my order", intent("b", "my order"), intent("a", "order")) == "b"


def test_then_the_first_in_the_document():
    assert match("order", intent("a", "order"), intent("b", "order")) == "a"
    assert match("order", intent("b", "order"), intent("a", "order")) == "b"


def test_the_best_of_an_intents_own_rules_counts():
    assert match("track order 7", intent("a", "order", r"track order \d"), intent("b", "track order")) == "a"


def test_case_and_width_do_not_matter():
    assert match("WHERE IS MY Order", intent("a", "order")) == "a"
    assert match("ＯＲＤＥＲ　７", intent("a", r"order 7")) == "a"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("talk to a human please", True),
        ("HUMAN!", True),
        ("humane treatment", False),
        ("inhuman", False),
        ("我要人工客服", True),
        ("转人工", True),
        ("工人", False),
        ("real  person", True),
        ("real persons", False),
    ],
)
def test_keywords_are_whole_words_where_a_script_has_them(text, found):
    hit = match(text, intent("a", keywords=["human", "人工", "real person"]))
    assert (hit == "a") is found


def test_named_groups_fill_parameters():
    given = intent("a", r"order (?P<order_id>\d+) to (?P<city>\w+)", order_id={"type": "integer"})
    assert parameters("send order 1042 to Oslo", given) == {"order_id": 1042, "city": "Oslo"}


def test_a_parameters_own_pattern_fills_what_the_rule_did_not():
    given = intent(
        "a", "refund", order_id={"type": "integer", "pattern": r"#(\d+)"}, note={"pattern": r"because .*"}
    )
    assert parameters("refund #77 because it broke", given) == {"order_id": 77, "note": "because it broke"}
    assert parameters("refund", given) == {}


def test_the_rules_value_wins_over_the_parameters_own_pattern():
    given = intent("a", r"order (?P<n>\d+)", n={"type": "integer", "pattern": r"(\d+)"})
    assert parameters("2 times order 7", given) == {"n": 7}


def test_an_enum_is_found_where_it_is_mentioned_and_the_longest_wins():
    given = intent("a", "shirt", size={"type": "enum", "values": ["large", "extra large", "大"]})
    assert parameters("an Extra Large shirt", given) == {"size": "extra large"}
    assert parameters("a shirt 大", given) == {"size": "大"}
    assert parameters("a shirt", given) == {}


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        ("integer", "1,042", 1042),
        ("integer", " -5 ", -5),
        ("integer", "+7", 7),
        ("integer", 12, 12),
        ("integer", 12.0, 12),
        ("integer", "12.5", None),
        ("integer", "--5", None),
        ("integer", "5-", None),
        ("integer", "", None),
        ("integer", "twelve", 12),
        ("integer", "a dozen", None),
        ("integer", "一百二十三", 123),
        ("integer", "二十五个", 25),
        ("integer", "三个到五个", None),
        ("integer", True, None),
        ("integer", "٣", 3),
        ("integer", "²", None),
        ("integer", "9" * 5000, None),
        ("integer", 2**53, None),
        ("number", "2.5", 2.5),
        ("number", ".5", 0.5),
        ("number", "1e3", 1000),
        ("number", "3.0", 3),
        ("number", "1_000", None),
        ("number", "nan", None),
        ("number", "inf", None),
        ("number", "1e999", None),
        ("number", "-", None),
        ("boolean", "Yes", True),
        ("boolean", False, False),
        ("boolean", "perhaps", None),
        ("enum", "RED", "red"),
        ("enum", "green", None),
        ("list", "a, b,,c", ["a", "b", "c"]),
        ("list", ["a", 1], ["a", 1]),
        ("text", "  x ", "x"),
        ("text", " ", None),
        ("number", "三", 3),
        ("boolean", "是的", True),
        ("date", "tomorrow", "2026-11-29"),
        ("date", "下周三", "2026-12-02"),
        ("date", "十二月五号", "2026-12-05"),
        ("date", "2026-12-01", "2026-12-01"),
        ("date", "soon", None),
    ],
)
def test_values_take_their_declared_type_or_are_left_out(kind, raw, value):
    declared = Parameter(type=kind, values=["red"] if kind == "enum" else [])
    got = coerce(raw, declared, lambda: SATURDAY)
    assert (got, type(got)) == (value, type(value))


def test_either_chinese_script_gives_the_parameters_as_they_were_written():
    given = intent(
        "a",
        "退货.*(?P<name>王\\S+)",
        "退貨",
        size={"type": "enum", "values": ["大號", "小號"]},
        number={"type": "integer", "pattern": r"订单(\d+)"},
    )
    assert parameters("退貨,我是王偉 大号 訂單一零四二", given) == {
        "name": "王偉",
        "size": "大號",
        "number": 1042,
    }


def test_the_date_of_an_intent_is_found_where_a_message_names_one():
    one = intent("a", "book", day={"type": "date"})
    hit = RuleMatcher([one], Re2Engine()).match("book me in for 下周三", lambda: SATURDAY)
    assert hit.parameters == {"day": "2026-12-02"}
    assert parameters("book a table", one) == {}
    two = intent("a", "book", start={"type": "date"}, end={"type": "date"})
    assert parameters("book from tomorrow", two) == {}


def test_a_value_of_the_wrong_type_is_as_good_as_none():
    reader = ParameterReader({"n": Parameter(type="integer")})
    assert reader.read("x", {"n": "many", "other": 1}, lambda: SATURDAY) == {"other": 1}
    assert reader.read("x", {"n": None}, lambda: SATURDAY) == {}


async def test_rules_that_were_built_are_used_and_give_the_same_answers(tmp_path):
    snapshot = compiled(CONFIG)
    text = snapshot.config.model_dump_json(exclude_unset=True)
    request = BuildRequest(tenant="acme", config_hash=hash_of(text), document=text)
    built = await Builder(DEFAULT_MEMORY, 60, KeptFiles(tmp_path, 2**20)).build(request)
    assert (built.errors, built.report) == ([], {"rules": 8})

    class NoCompiling(Re2Engine):
        def compile(self, rules):
            assert self.loading, "compiled anew"
            return super().compile(rules)

        def load(self, data):
            self.loading = True
            return super().load(data)

        loading = False

    document = SnapshotDocument(
        config_hash=request.config_hash, tenant="acme", document=text, artefacts=built.artefacts
    )
    again = SnapshotCompiler(NoCompiling(), {})(document)
    assert again.rules.match("where is order 7").parameters == {"order_id": 7}
    damaged = document.model_copy(
        update={"artefacts": [built.artefacts[0].model_copy(update={"data_base64": "AAAA"})]}
    )
    assert SnapshotCompiler(Re2Engine(), {})(damaged).rules.match("are you open").intent.id == "hours"


async def test_rules_that_do_not_fit_the_memory_are_an_error_of_the_build(tmp_path):
    config = {
        **CONFIG,
        "intents": [{"id": "a", "when": {"patterns": ["(x{1,200}y{1,200}){3}"]}, "then": {"reply": "x"}}],
    }
    text = compiled({**CONFIG}).config.model_validate(config).model_dump_json(exclude_unset=True)
    built = await Builder(64 * 1024, 60, KeptFiles(tmp_path, 2**20)).build(
        BuildRequest(tenant="acme", config_hash="0" * 64, document=text)
    )
    assert [error.code for error in built.errors] == ["rules_too_large"]


def test_what_may_change_something_outside_is_known():
    config = {
        **CONFIG,
        "flows": [
            *CONFIG["flows"],
            {"id": "outer", "steps": [{"type": "subflow", "flow": "inner"}]},
            {
                "id": "inner",
                "steps": [{"type": "subflow", "flow": "refund"}, {"type": "subflow", "flow": "outer"}],
            },
        ],
        "skills": [
            *CONFIG["skills"],
            {"id": "payer", "mode": "agent", "instructions": "x", "tools": ["look_up", "pay_back"]},
            {"id": "reader", "mode": "agent", "instructions": "x", "tools": ["look_up"]},
            {"id": "function", "mode": "function", "function": "f"},
        ],
    }
    snapshot = compiled(config)
    writing = {
        f"{kind}:{name}"
        for kind, names in {
            "flow": ["track", "refund", "outer", "inner"],
            "skill": ["advisor", "payer", "reader", "function"],
            "tool": ["look_up", "pay_back"],
        }.items()
        for name in names
        if snapshot.may_write(Route(**{kind: name}))
    }
    assert writing == {
        "flow:refund",
        "flow:outer",
        "flow:inner",
        "skill:payer",
        "skill:function",
        "tool:pay_back",
    }
