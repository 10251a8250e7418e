import orjson
import pytest

from signalbox.llm_gateway.emulation import PromptedCall, WrongAnswer, lack_named_by, lacking
from signalbox.llm_gateway.errors import MalformedCall, ProviderRefused
from signalbox.llm_gateway.protocol import RequestBody

TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "required": ["q"]}}}


def body(**fields):
    messages = [{"role": "system", "content": "S"}, {"role": "user", "content": "hi"}]
    return RequestBody.parse(orjson.dumps({"model": "m", "messages": messages, **fields}))


def prompted(lacks=("tools",), *, has_json_mode=False, **fields):
    return PromptedCall(body(**fields), frozenset(lacks), has_json_mode=has_json_mode)


def test_only_what_is_asked_for_and_known_to_be_missing_is_lacking():
    asked = body(tools=[TOOL], response_format={"type": "json_object"})
    assert lacking(asked, tools=False, json_mode=False) == {"tools", "json_mode"}
    assert lacking(asked, tools=None, json_mode=True) == frozenset()
    assert lacking(body(tools=[TOOL], tool_choice="none"), tools=False, json_mode=False) == frozenset()
    assert lacking(body(response_format={"type": "text"}), tools=False, json_mode=False) == frozenset()


@pytest.mark.parametrize(
    ("status", "message", "named"),
    [
        (400, "registry.ollama.ai/library/gemma:2b does not support tools", "tools"),
        (400, "Function calling is not enabled for this model", "tools"),
        (404, "No endpoints found that support tool use. Try disabling tools.", "tools"),
        (400, "`tools` is not supported by this model", "tools"),
        (400, "Unsupported parameter: 'tools'", "tools"),
        (400, "'response_format' of type 'json_schema' is not supported with this model", "json_mode"),
        (422, "This response_format type is unavailable now", "json_mode"),
        (400, "Invalid parameter: model x doesn't support structured outputs", "json_mode"),
        (400, "messages: too long", None),
        (400, "Invalid schema for function 'look': x is not a type", None),
        (400, "Unknown parameter: 'tools[0].x'", None),
        (400, "Unsupported parameter: 'tools[0].function.strict'", None),
        (500, "tools are not supported", None),
    ],
)
def test_a_refusal_names_what_a_model_lacks(status, message, named):
    asked = body(tools=[TOOL], response_format={"type": "json_object"})
    assert lack_named_by(ProviderRefused(status, message), asked) == named


def test_the_chat_is_retold_without_roles_and_fields_that_the_model_does_not_know():
    call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": '{"q":"x"}'}}
    messages = [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "found"},
    ]
    sent = orjson.loads(
        prompted(tools=[TOOL], messages=messages, stream=True, stream_options={}, temperature=0.5).request(
            "real"
        )
    )
    assert set(sent) == {"model", "messages", "temperature"}
    assert [message["role"] for message in sent["messages"]] == [
        "system",
        "system",
        "user",
        "assistant",
        "user",
    ]
    assert orjson.loads(sent["messages"][3]["content"]) == {
        "tool_calls": [{"name": "look", "arguments": {"q": "x"}}]
    }
    assert "found" in sent["messages"][4]["content"]


def test_a_plain_answer_stays_one_and_a_call_may_stand_in_words():
    call = prompted(tools=[TOOL])
    assert call.read({"content": "No tool needed [1]."})["content"] == "No tool needed [1]."
    read = call.read({"content": 'I call: ```{"tool_calls":[{"name":"look","arguments":{"q":1}}]}``` ok?'})
    assert read["content"] is None
    assert read["tool_calls"][0]["function"]["arguments"] == '{"q":1}'


@pytest.mark.parametrize(
    "content",
    [
        '{"tool_calls": [}',
        '{"tool_calls": []}',
        '{"tool_calls": [{"name": "other"}]}',
        '{"tool_calls": [{"name": "look", "arguments": {}}]}',
        '{"tool_calls": [1]}',
    ],
)
def test_a_call_that_cannot_be_made_is_a_wrong_answer(content):
    with pytest.raises(WrongAnswer):
        prompted(tools=[TOOL]).read({"content": content})


def test_a_required_call_must_be_made():
    for choice in ("required", {"type": "function", "function": {"name": "look"}}):
        call = prompted(tools=[TOOL], tool_choice=choice)
        with pytest.raises(WrongAnswer):
            call.read({"content": "I would rather not."})


def test_tools_and_json_together_leave_the_answer_in_json():
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    wanted = {"type": "json_schema", "json_schema": {"schema": schema}}
    call = prompted(("tools", "json_mode"), tools=[TOOL], response_format=wanted)
    assert call.read({"content": '{"answer": {"a": 1}}'})["content"] == '{"a":1}'
    assert call.read({"content": '{"a": 2}'})["content"] == '{"a":2}'
    with pytest.raises(WrongAnswer, match="/a"):
        call.read({"content": '{"answer": {"a": "x"}}'})


def test_a_models_own_json_mode_is_used_where_the_answer_must_be_json():
    must = prompted(tools=[TOOL], tool_choice="required", has_json_mode=True)
    may = prompted(tools=[TOOL], has_json_mode=True)
    assert orjson.loads(must.request("m"))["response_format"] == {"type": "json_object"}
    assert "response_format" not in orjson.loads(may.request("m"))


def test_own_tools_are_kept_where_only_json_is_lacking():
    call = prompted(("json_mode",), tools=[TOOL], response_format={"type": "json_object"})
    assert orjson.loads(call.request("m"))["tools"] == [TOOL]
    made = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
    assert call.read(made) == made


def test_a_callers_broken_schema_is_the_callers_mistake_and_fetches_nothing():
    for schema in ({"type": "objekt"}, {"$ref": "http://127.0.0.1:1/schema.json"}):
        wanted = {"type": "json_schema", "json_schema": {"schema": schema}}
        with pytest.raises(MalformedCall):
            prompted(("json_mode",), response_format=wanted).read({"content": "{}"})
