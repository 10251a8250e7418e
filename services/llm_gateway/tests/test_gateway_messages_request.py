import orjson
import pytest

from signalbox.llm_gateway.deployments import Deployment
from signalbox.llm_gateway.errors import MalformedCall
from signalbox.llm_gateway.messages.request import MessagesRequest

USER = [{"role": "user", "content": "hi"}]
MARK = {"type": "ephemeral"}
PNG = {"type": "base64", "media_type": "image/png", "data": "AAAA"}


def asked(**members):
    body = {"model": "m", "max_tokens": 10, "messages": USER, **members}
    return MessagesRequest.parse(orjson.dumps(body))


def sent(provider="openai-compatible", **members):
    """What a provider gets."""
    deployment = Deployment(model="m", provider=provider, base_url="http://127.0.0.1:1/v1")
    if provider == "openai":
        deployment = Deployment(model="m")
    return orjson.loads(
        asked(**members).chat.for_upstream("m", ask_usage=True, extensions=deployment.extensions)
    )


def messages(*turns, **members):
    return sent(messages=list(turns), **members)["messages"]


def user(*blocks):
    return {"role": "user", "content": list(blocks)}


def text(value, **members):
    return {"type": "text", "text": value, **members}


def test_a_plain_request_is_the_same_in_chat():
    assert sent(temperature=0.5, top_p=0.9, stop_sequences=["END"], metadata={"user_id": "u"}) == {
        "model": "m",
        "messages": USER,
        "max_tokens": 10,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["END"],
        "user": "u",
    }


def test_members_of_the_future_are_left_out():
    assert sent(container="c", context_management={}, betas=["x"]).keys() == {
        "model",
        "messages",
        "max_tokens",
    }


def test_a_stream_asks_for_its_usage_where_the_provider_can_be_asked():
    chat = asked(stream=True).chat
    assert chat.stream
    assert chat.wants_usage
    assert orjson.loads(chat.for_upstream("n", ask_usage=True))["stream_options"] == {"include_usage": True}
    assert "stream_options" not in orjson.loads(chat.for_upstream("n", ask_usage=False))
    assert orjson.loads(chat.for_upstream("n", ask_usage=False))["model"] == "n"


@pytest.mark.parametrize(
    ("system", "content"),
    [
        ("Be brief.", "Be brief."),
        ([text("Be brief.")], "Be brief."),
        ([text("a"), text("b")], [text("a"), text("b")]),
    ],
)
def test_the_system_prompt_is_the_first_message(system, content):
    assert sent(system=system)["messages"] == [{"role": "system", "content": content}, *USER]


def test_images_are_parts_with_a_url():
    url = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    assert messages(user(text("see"), {"type": "image", "source": PNG}, url)) == [
        user(
            text("see"),
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        )
    ]


def test_documents_are_files_or_texts():
    pdf = {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}
    plain = {"type": "text", "media_type": "text/plain", "data": "words"}
    written = {"type": "content", "content": [text("more")]}
    assert messages(
        user(
            {"type": "document", "title": "a.pdf", "source": pdf},
            {"type": "document", "title": "Title", "source": plain},
            {"type": "document", "source": written},
        )
    ) == [
        user(
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}},
            text("Title\n\nwords"),
            text("more"),
        )
    ]


def test_tool_calls_and_results_are_messages_of_their_own_before_what_else_is_said():
    called = {
        "role": "assistant",
        "content": [
            text("Let me see."),
            {"type": "tool_use", "id": "t1", "name": "f", "input": {"n": 1}},
            {"type": "tool_use", "id": "t2", "name": "g", "input": {}},
        ],
    }
    results = user(
        {"type": "tool_result", "tool_use_id": "t1", "content": "one"},
        {"type": "tool_result", "tool_use_id": "t2", "is_error": True, "content": [text("no"), text("such")]},
        text("And now?"),
    )
    assert messages(*USER, called, results)[1:] == [
        {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [
                {"id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"n":1}'}},
                {"id": "t2", "type": "function", "function": {"name": "g", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "t1", "content": "one"},
        {"role": "tool", "tool_call_id": "t2", "content": "The tool failed:\nno\nsuch"},
        {"role": "user", "content": "And now?"},
    ]


def test_images_that_a_tool_returned_follow_as_the_users():
    result = {
        "type": "tool_result",
        "tool_use_id": "t1",
        "content": [text("a chart"), {"type": "image", "source": PNG}],
    }
    tool, shown = messages(user(result))
    assert tool == {
        "role": "tool",
        "tool_call_id": "t1",
        "content": "a chart\n(what else t1 returned follows in the next message)",
    }
    assert shown["role"] == "user"
    assert shown["content"] == [
        text("Returned by t1:"),
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    ]


def test_a_result_without_content_is_empty_and_a_call_alone_has_no_text():
    called = {
        "role": "assistant",
        "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {}}],
    }
    assistant, tool = messages(called, user({"type": "tool_result", "tool_use_id": "t1"}))
    assert assistant["content"] is None
    assert tool == {"role": "tool", "tool_call_id": "t1", "content": ""}


def test_a_turn_of_thoughts_alone_is_empty_and_what_was_not_signed_is_not_sent_back():
    unsigned = {"type": "thinking", "thinking": "hm", "signature": ""}
    turn = {"role": "assistant", "content": [unsigned]}
    assert sent("anthropic", messages=[*USER, turn])["messages"][-1] == {"role": "assistant", "content": ""}


def test_a_prefill_stays_the_last_message():
    assert messages(*USER, {"role": "assistant", "content": "{"})[-1] == {"role": "assistant", "content": "{"}


def test_tools_keep_their_schema():
    tool = {"name": "f", "description": "d", "input_schema": {"type": "object"}, "strict": True}
    assert sent(tools=[tool])["tools"] == [
        {
            "type": "function",
            "function": {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True},
        }
    ]


@pytest.mark.parametrize(
    ("choice", "made"),
    [
        ({"type": "auto"}, {"tool_choice": "auto"}),
        ({"type": "any"}, {"tool_choice": "required"}),
        ({"type": "none"}, {"tool_choice": "none"}),
        ({"type": "auto", "disable_parallel_tool_use": False}, {"tool_choice": "auto"}),
        ({"type": "tool", "name": "f"}, {"tool_choice": {"type": "function", "function": {"name": "f"}}}),
        (
            {"type": "any", "disable_parallel_tool_use": True},
            {"tool_choice": "required", "parallel_tool_calls": False},
        ),
    ],
)
def test_the_choice_among_tools_is_translated(choice, made):
    found = sent(tools=[{"name": "f", "input_schema": {}}], tool_choice=choice)
    assert {name: found[name] for name in found if name in {"tool_choice", "parallel_tool_calls"}} == made


@pytest.mark.parametrize(
    ("members", "effort"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "low"),
        ({"thinking": {"type": "enabled", "budget_tokens": 8000}}, "medium"),
        ({"thinking": {"type": "enabled", "budget_tokens": 32000}}, "high"),
        ({"thinking": {"type": "disabled"}}, None),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}, "high"),
        ({"output_config": {"effort": "low"}}, "low"),
    ],
)
def test_thinking_is_an_effort_for_providers_that_know_only_that(members, effort):
    found = sent(**members)
    assert found.get("reasoning_effort") == effort
    assert "thinking" not in found


def test_thoughts_are_shown_only_to_who_asked_for_them():
    enabled = {"type": "enabled", "budget_tokens": 2000}
    assert asked(thinking=enabled).shows_thinking
    assert not asked(thinking={**enabled, "display": "omitted"}).shows_thinking
    assert not asked(thinking={"type": "disabled"}).shows_thinking
    assert not asked().shows_thinking


CLOSED = {
    "type": "object",
    "properties": {"a": {"type": "object", "properties": {}, "additionalProperties": False}},
    "required": ["a"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        (CLOSED, True),
        ({"type": "array", "items": CLOSED}, True),
        ({**CLOSED, "required": []}, False),
        ({**CLOSED, "additionalProperties": True}, False),
        ({**CLOSED, "properties": {"a": {"anyOf": [{"type": "null"}, {"type": "object"}]}}}, False),
    ],
)
def test_a_schema_of_the_output_is_strict_where_openai_takes_it(schema, strict):
    config = {"format": {"type": "json_schema", "schema": schema}}
    assert sent(output_config=config)["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": schema, "strict": strict},
    }


RICH = {
    "system": [text("s", cache_control=MARK)],
    "messages": [
        user(text("q", cache_control=MARK)),
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "sig"},
                {"type": "tool_use", "id": "t", "name": "f", "input": {}, "cache_control": MARK},
            ],
        },
        user({"type": "tool_result", "tool_use_id": "t", "content": "r", "cache_control": MARK}),
    ],
    "tools": [{"name": "f", "input_schema": {}, "cache_control": MARK}],
    "top_k": 5,
    "thinking": {"type": "enabled", "budget_tokens": 2000},
}


def test_providers_with_the_same_notions_get_marks_thoughts_and_top_k():
    found = sent("anthropic", **RICH)
    assert found["top_k"] == 5
    assert found["thinking"] == RICH["thinking"]
    assert "reasoning_effort" not in found
    system, question, called, result = found["messages"]
    assert system["content"] == [text("s", cache_control=MARK)]
    assert question["content"] == [text("q", cache_control=MARK)]
    assert called["thinking_blocks"] == [RICH["messages"][1]["content"][0]]
    assert called["tool_calls"][0]["cache_control"] == MARK
    assert result["cache_control"] == MARK
    assert found["tools"][0]["cache_control"] == MARK


def test_other_providers_get_nothing_that_they_would_refuse():
    found = sent(**RICH)
    assert "top_k" not in found
    assert "thinking" not in found
    assert found["reasoning_effort"] == "low"
    assert b"cache_control" not in orjson.dumps(found)
    assert b"thinking_blocks" not in orjson.dumps(found)
    assert found["messages"][0]["content"] == [text("s")]


def test_openai_itself_is_told_the_cap_by_the_name_that_every_model_of_its_takes():
    found = sent("openai", **RICH)
    assert found["max_completion_tokens"] == 10
    assert "max_tokens" not in found
    assert sent("vllm", top_k=5)["top_k"] == 5


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"max_tokens": None}, "/max_tokens"),
        ({"max_tokens": 0}, "/max_tokens"),
        ({"max_tokens": 10**9 + 1}, "/max_tokens"),
        ({"max_tokens": 2**63}, "/max_tokens"),
        ({"messages": None}, "/messages"),
        ({"messages": []}, "/messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "/messages/0/role"),
        ({"messages": [{"role": "user"}]}, "/messages/0/content"),
        ({"messages": [user({"type": "server_tool_use"})]}, "/messages/0/content/0"),
        ({"messages": [user({"type": "image", "source": {"type": "file"}})]}, "/messages/0/content/0/source"),
        ({"system": 5}, "/system"),
        ({"stream": "yes"}, "/stream"),
        ({"stop_sequences": [5]}, "/stop_sequences/0"),
        ({"tools": [{"name": "f"}]}, "/tools/0/input_schema"),
        ({"tools": [{"type": "web_search_20250305", "name": "w"}]}, "/tools/0"),
        ({"tools": [{"name": "f", "input_schema": {}}], "tool_choice": {"type": "x"}}, "/tool_choice"),
        ({"thinking": {"type": "enabled"}}, "/thinking/budget_tokens"),
        ({"output_config": {"effort": "huge"}}, "/output_config/effort"),
        ({"output_config": {"format": {"type": "xml"}}}, "/output_config/format"),
    ],
)
def test_what_cannot_be_served_is_named(members, pointer):
    with pytest.raises(MalformedCall) as raised:
        asked(**members)
    assert [error.pointer for error in raised.value.errors] == [pointer]
