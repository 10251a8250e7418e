"""The demo model, with the prompts that Workflow and Skills send for the example workflow."""

import re
import sys
from pathlib import Path

import orjson
import pytest
import yaml

from signalbox.llm_gateway.demo import DemoModel
from signalbox.llm_gateway.demo.rendering import describe
from signalbox.llm_gateway.demo.structured import choose
from signalbox.llm_gateway.demo.words import rank, topic, word_set
from signalbox.llm_gateway.protocol import RequestBody

SHOP = yaml.safe_load((Path(__file__).parents[3] / "examples/shop/workflow.yaml").read_text())
MARK = "demo model"


def tools_of(skill_id):
    skill = next(skill for skill in SHOP["skills"] if skill["id"] == skill_id)
    return [
        {
            "type": "function",
            "function": {
                "name": tool["id"],
                "description": tool["description"],
                "parameters": tool["parameters"],
            },
        }
        for name in skill["tools"]
        for tool in SHOP["tools"]
        if tool["id"] == name
    ]


def ask(*messages, **fields):
    chat = [{"role": "user", "content": one} if isinstance(one, str) else one for one in messages]
    raw = orjson.dumps({"model": "demo", "messages": chat, **fields})
    return DemoModel().complete(RequestBody.parse(raw)).message


def called(message):
    return [
        (call["function"]["name"], orjson.loads(call["function"]["arguments"]))
        for call in message["tool_calls"]
    ]


def match(text, shown=3):
    lines = ["Name the one intent that the message has. Name 'none' when no intent fits.", "", "Intents:"]
    for intent in SHOP["intents"]:
        examples = "; ".join(intent["when"].get("examples", [])[:shown])
        lines.append(f"- {intent['id']}: {intent['description']} Examples: {examples}")
        for name, parameter in intent.get("parameters", {}).items():
            lines.append(f"    {name} ({parameter['type']}): {parameter.get('description', '')}")
    schema = {
        "type": "object",
        "properties": {
            "intent": {"type": "string", "enum": [*(intent["id"] for intent in SHOP["intents"]), "none"]},
            "confidence": {"type": "number"},
            "parameters": {"type": "object"},
        },
        "required": ["intent", "confidence", "parameters"],
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "intent", "schema": schema}}
    message = ask({"role": "system", "content": "\n".join(lines)}, text, response_format=wanted)
    return orjson.loads(message["content"])


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("which tent would you recommend for hiking?", "product_advice"),
        ("the parcel tracking number please", "track_parcel"),
        ("I ordered by mistake, cancel my purchase", "cancel_order"),
        ("when will the money be refunded", "refund_status"),
        ("I moved, my delivery address is wrong", "change_address"),
        ("connect me to a person", "talk_to_human"),
        ("what is the capital of Peru?", "none"),
        ("今天天气怎么样", "none"),
    ],
)
def test_an_intent_is_named_by_the_words_of_its_description(text, intent):
    found = match(text)
    assert found["intent"] == intent
    assert found["parameters"] == {}
    assert (found["confidence"] >= 0.3) is (intent != "none")
    assert 0 <= found["confidence"] <= 0.9


def test_a_prompt_of_many_intents_is_read_once():
    names = [f"topic_{number}" for number in range(1000)]
    prompt = "\n".join(f"- {name}: Words about animal{number}." for number, name in enumerate(names))
    compiled = 0

    def note(frame, event, _):
        nonlocal compiled
        compiled += event == "call" and frame.f_code.co_filename == re._compiler.__file__

    sys.setprofile(note)
    try:
        found, _ = choose([*names, "none"], prompt, "animal700 please")
    finally:
        sys.setprofile(None)
    assert found == "topic_700"
    # A pattern compiled for each intent took a millisecond each, in which nobody else was served.
    assert compiled == 0


@pytest.mark.parametrize(
    ("text", "intent"),
    [("我的订单什么时候能到", "order_status"), ("怎么退货", "return_order"), ("想改地址", "change_address")],
)
def test_a_chinese_message_is_compared_with_chinese_examples(text, intent):
    assert match(text, shown=20)["intent"] == intent


@pytest.mark.parametrize(
    ("skill", "text", "calls"),
    [
        (
            "shopping_advisor",
            "can you recommend a waterproof jacket under 100 euros?",
            [("search_products", {"query": "waterproof jacket", "category": "jackets", "max_price": 100})],
        ),
        (
            "shopping_advisor",
            "推荐一款100欧元以下的防水夹克",
            [("search_products", {"query": "防水夹克", "max_price": 100})],
        ),
        ("shopping_advisor", "is JKT-1001 in stock?", [("get_stock", {"sku": "JKT-1001"})]),
        ("support_agent", "what is the status of my order 1042?", [("get_order", {"order_number": 1042})]),
        ("support_agent", "我的订单1042状态", [("search_faq", {"query": "订单 状态"})]),
        (
            "support_agent",
            "list my newest orders",
            [("list_my_orders", {})],
        ),
        ("support_agent", "Can I wash wool socks?", [("search_faq", {"query": "wash wool socks"})]),
    ],
)
def test_a_tool_is_called_with_arguments_out_of_the_message(skill, text, calls):
    assert called(ask(text, tools=tools_of(skill))) == calls


def test_nothing_is_changed_by_it():
    message = ask("create return for order 1043, my tent is damaged", tools=tools_of("support_agent"))
    assert "create_return" not in [name for name, _ in called(message)]


def test_a_number_said_earlier_counts():
    earlier = {"role": "assistant", "content": "Which order?"}
    message = ask(
        "it is about order 1044", earlier, "where is the parcel now?", tools=tools_of("support_agent")[:2]
    )
    assert called(message)[0][1] == {"order_number": 1044}


@pytest.mark.parametrize("text", ["where is the parcel of my order?", "订单的包裹在哪里"])
def test_what_is_missing_is_asked_for(text):
    tools = [
        {
            "type": "function",
            "function": {
                "name": "get_tracking",
                "description": "Look up a parcel of an order 订单包裹.",
                "parameters": {
                    "type": "object",
                    "properties": {"order_number": {"type": "integer", "description": "The order's number."}},
                    "required": ["order_number"],
                },
            },
        }
    ]
    message = ask(text, tools=tools)
    assert "The order's number" in message["content"]
    assert MARK in message["content"]


def test_results_are_told_and_never_lead_to_another_call():
    tools = tools_of("shopping_advisor")
    first = ask("a waterproof jacket please", tools=tools)
    found = [{"sku": "JKT-1001", "name": "Ridge", "price": "89.00 EUR"}, {"sku": "JKT-1002", "name": "Fell"}]
    results = [
        {"role": "tool", "tool_call_id": call["id"], "content": orjson.dumps(found).decode()}
        for call in first["tool_calls"]
    ]
    said = ask("a waterproof jacket please", first, *results, tools=tools)
    assert "tool_calls" not in said
    assert "JKT-1001" in said["content"]
    assert "89.00 EUR" in said["content"]
    assert MARK in said["content"]
    again = ask("a waterproof jacket please", first, *results, said, "and a tent?", tools=tools)
    assert called(again)[0][1]["category"] == "tents"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("[]", "nothing"),
        ("null", "nothing"),
        ('{"error": "the shop is closed"}', "the shop is closed"),
        ('{"ok": true, "output": {"status": "shipped"}}', "status: shipped"),
        ("plain words", "plain words"),
    ],
)
def test_results_of_any_shape_are_told(content, expected):
    call = {"id": "1", "type": "function", "function": {"name": "x", "arguments": "{}"}}
    said = ask(
        "hi",
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": content},
    )
    assert expected in said["content"]


def test_a_chinese_customer_is_answered_in_chinese():
    call = {"id": "1", "type": "function", "function": {"name": "x", "arguments": "{}"}}
    result = {"role": "tool", "tool_call_id": "1", "content": '{"状态": "已发货"}'}
    said = ask("我的订单在哪", {"role": "assistant", "tool_calls": [call]}, result)["content"]
    assert said.startswith("查询结果：状态: 已发货")
    assert MARK in said
    assert "演示模型" in said


def test_it_says_what_it_is_when_there_is_nothing_to_compare():
    assert MARK in ask("tell me a joke")["content"]
    assert MARK in ask()["content"]
    parts = [{"type": "text", "text": "hello"}, {"type": "image_url", "image_url": {"url": "data:"}}]
    assert MARK in ask({"role": "user", "content": parts})["content"]


def test_a_forced_tool_is_called_and_forbidden_ones_are_not():
    tools = tools_of("shopping_advisor")
    choice = {"type": "function", "function": {"name": "get_stock"}}
    assert called(ask("JKT-1001", tools=tools, tool_choice=choice)) == [("get_stock", {"sku": "JKT-1001"})]
    assert MARK in ask("is JKT-1001 in stock?", tools=tools, tool_choice="none")["content"]


def test_an_agent_that_ends_by_a_tool_is_ended_by_it():
    done = {
        "type": "function",
        "function": {
            "name": "done",
            "parameters": {"type": "object", "properties": {"answer": {"type": "string"}}},
        },
    }
    call = {"id": "1", "type": "function", "function": {"name": "x", "arguments": "{}"}}
    result = {"role": "tool", "tool_call_id": "1", "content": "42"}
    ((name, arguments),) = called(
        ask("hi", {"role": "assistant", "tool_calls": [call]}, result, tools=[done])
    )
    assert name == "done"
    assert "42" in arguments["answer"]


def test_the_same_request_has_the_same_answer():
    raw = orjson.dumps({"model": "demo", "messages": [{"role": "user", "content": "hi"}]})
    first, second = (DemoModel().complete(RequestBody.parse(raw)) for _ in range(2))
    assert first == second


def test_a_schema_without_choices_is_filled_too():
    schema = {
        "type": "object",
        "properties": {
            "summary": {"type": "string"},
            "tags": {"type": "array"},
            "urgent": {"type": "boolean"},
            "count": {"type": "integer", "minimum": 1},
            "note": {"type": ["string", "null"]},
        },
    }
    wanted = {"type": "json_schema", "json_schema": {"schema": schema}}
    answer = orjson.loads(ask("hi", response_format=wanted)["content"])
    assert MARK in answer.pop("summary")
    assert answer == {"tags": [], "urgent": False, "count": 1, "note": None}
    assert MARK in orjson.loads(ask("hi", response_format={"type": "json_object"})["content"])["message"]


def test_words_are_compared_by_stem_and_pairs_of_characters():
    assert word_set("Where are my parcels?") == word_set("parcel")
    assert word_set("退货政策是什么") == {"退货", "货政", "政策"}
    assert topic("What is your return policy 12?") == "return policy"
    assert rank("", ["a"]) == []
    assert rank("tent", ["tents", "shoes"])[0] == (1.0, 0)


def test_nested_values_are_told_shortly():
    value = {"order_number": 1042, "paid": True, "items": [{"name": "A"}, {"name": "B"}], "empty": None}
    assert describe(value) == "order number: 1042, paid: yes, items: A; B"
    product = {"sku": "J-1", "name": "Jacket", "name_zh": "夹克", "in_stock": False}
    assert describe(product) == "Jacket (sku: J-1, in stock: no)"
    assert describe(product, chinese=True) == "夹克 (sku: J-1, in stock: no)"
    answers = [{"title": "Washing", "text": "Wash wool by hand in lukewarm water and dry it lying flat."}]
    assert describe(answers) == "Wash wool by hand in lukewarm water and dry it lying flat."
