"""Requests of the Responses API as chat requests."""

import orjson
import pytest

from signalbox.llm_gateway.errors import MalformedCall
from signalbox.llm_gateway.responses.asking import truncated
from signalbox.llm_gateway.responses.request import ResponsesRequest

TOOL = {"type": "function", "name": "get_order", "parameters": {"type": "object", "properties": {}}}
CALL = {"type": "function_call", "call_id": "c1", "name": "get_order", "arguments": "{}"}
USER = {"role": "user", "content": "hi"}


def parsed(**fields):
    return ResponsesRequest.parse(orjson.dumps({"model": "m", "input": "hi", **fields}))


def chat(**fields):
    request = parsed(**fields)
    return request.chat(request.items, stream=request.stream).fields


def messages(items):
    return chat(input=items)["messages"]


def test_the_least_request_is_one_message_and_nothing_else():
    assert chat() == {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def test_what_is_asked_for_has_the_chat_apis_names():
    found = chat(
        instructions="Be brief.",
        max_output_tokens=5,
        temperature=0.1,
        top_p=0.9,
        user="u1",
        reasoning={"effort": "low", "summary": "auto"},
        tools=[{**TOOL, "description": "d", "strict": True}],
        tool_choice={"type": "function", "name": "get_order"},
        parallel_tool_calls=False,
        stream=True,
        metadata={"a": "b"},
        store=False,
        include=["reasoning.encrypted_content"],
    )
    function = {"name": "get_order", "description": "d", "parameters": TOOL["parameters"], "strict": True}
    assert found == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be brief."}, USER],
        "tools": [{"type": "function", "function": function}],
        "tool_choice": {"type": "function", "function": {"name": "get_order"}},
        "parallel_tool_calls": False,
        "temperature": 0.1,
        "top_p": 0.9,
        "user": "u1",
        "max_tokens": 5,
        "reasoning_effort": "low",
        "stream": True,
        "stream_options": {"include_usage": True},
    }


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, {"type": "json_object"}),
        (
            {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True},
            {
                "type": "json_schema",
                "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True},
            },
        ),
    ],
)
def test_the_form_of_the_text_is_asked_for(form, expected):
    assert chat(text={"format": form}).get("response_format") == expected


def test_log_probabilities_are_asked_for_where_they_are_included():
    assert "logprobs" not in chat(top_logprobs=3)
    found = chat(top_logprobs=3, include=["message.output_text.logprobs"])
    assert (found["logprobs"], found["top_logprobs"]) == (True, 3)


def test_allowed_tools_are_the_only_ones_sent():
    other = {**TOOL, "name": "other"}
    choice = {
        "type": "allowed_tools",
        "mode": "required",
        "tools": [{"type": "function", "name": "other"}],
    }
    found = chat(tools=[TOOL, other], tool_choice=choice)
    assert [tool["function"]["name"] for tool in found["tools"]] == ["other"]
    assert found["tool_choice"] == "required"


def test_messages_of_every_role_and_kind_of_content():
    image = {"type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "low"}
    file = {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA"}
    said = {"type": "output_text", "text": "hello", "annotations": []}
    assert messages(
        [
            {"role": "developer", "content": "rules"},
            {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "a"}, image, file],
            },
            {"role": "assistant", "content": [said, {"type": "refusal", "refusal": " no"}]},
            {"role": "assistant", "content": "again"},
            {"role": "system", "content": [{"type": "input_text", "text": "more rules"}]},
        ]
    ) == [
        {"role": "system", "content": "rules"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "a"},
                {"type": "image_url", "image_url": {"url": image["image_url"], "detail": "low"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": file["file_data"]}},
            ],
        },
        {"role": "assistant", "content": "hello no"},
        {"role": "assistant", "content": "again"},
        {"role": "system", "content": "more rules"},
    ]


def test_calls_belong_to_the_message_before_and_what_no_tool_message_holds_follows_the_results():
    second = {**CALL, "call_id": "c2"}
    image = {"type": "input_image", "image_url": "https://x/y.png"}
    found = messages(
        [
            USER,
            {"type": "reasoning", "summary": [], "encrypted_content": "x"},
            {"role": "assistant", "content": "Let me see."},
            CALL,
            second,
            {
                "type": "function_call_output",
                "call_id": "c1",
                "output": [{"type": "input_text", "text": "t"}, image],
            },
            {"type": "function_call_output", "call_id": "c2", "output": "shipped"},
            USER,
        ]
    )
    assert [message["role"] for message in found] == ["user", "assistant", "tool", "tool", "user", "user"]
    assert found[1]["content"] == "Let me see."
    assert [call["id"] for call in found[1]["tool_calls"]] == ["c1", "c2"]
    assert found[2]["content"].startswith("t\n")
    assert found[3] == {"role": "tool", "tool_call_id": "c2", "content": "shipped"}
    assert found[4]["content"][1] == {"type": "image_url", "image_url": {"url": "https://x/y.png"}}


def test_what_the_last_result_holds_beside_text_comes_last():
    shown = [{"type": "input_image", "image_url": "https://x/y.png"}]
    found = messages([USER, CALL, {"type": "function_call_output", "call_id": "c1", "output": shown}])
    assert [message["role"] for message in found] == ["user", "assistant", "tool", "user"]
    assert found[-1]["content"][-1]["image_url"] == {"url": "https://x/y.png"}


def test_a_call_without_words_is_a_message_of_its_own():
    (message,) = messages([CALL])
    assert (message["role"], message["content"]) == ("assistant", None)


def test_items_are_kept_whole_with_type_id_and_status():
    first, call, thought = parsed(
        input=[USER, {**CALL, "id": "fc_1"}, {"type": "reasoning", "summary": [], "extra": 1}]
    ).items
    assert first["content"] == [{"type": "input_text", "text": "hi"}]
    assert (first["type"], first["status"], first["id"][:4]) == ("message", "completed", "msg_")
    assert call == {**CALL, "id": "fc_1", "status": "completed"}
    assert (thought["extra"], thought["id"][:3]) == (1, "rs_")


def test_the_response_repeats_what_was_asked():
    repeated = parsed(tools=[TOOL], reasoning={"effort": "high"}, metadata={"a": "b"}, store=False).repeated
    assert repeated["tools"] == [{**TOOL, "strict": False}]
    assert repeated["reasoning"] == {"effort": "high", "summary": None}
    assert (repeated["metadata"], repeated["store"], repeated["background"]) == ({"a": "b"}, False, False)
    assert (repeated["tool_choice"], repeated["truncation"], repeated["instructions"]) == (
        "auto",
        "disabled",
        None,
    )


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"input": None}, "/input"),
        ({"max_output_tokens": 10**9 + 1}, "/max_output_tokens"),
        ({"max_output_tokens": 2**63}, "/max_output_tokens"),
        ({"input": 5}, "/input"),
        ({"input": []}, "/input"),
        ({"input": [{"content": "x"}]}, "/input/0/role"),
        ({"input": [{"role": "tool", "content": "x"}]}, "/input/0/role"),
        ({"input": [USER, {"type": "item_reference", "id": "msg_1"}]}, "/input/1"),
        ({"input": [{"type": "computer_call"}]}, "/input/0"),
        ({"input": [{"type": "function_call", "name": "n", "arguments": "{}"}]}, "/input/0/call_id"),
        ({"input": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "/input/0/content/0"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
            "/input/0/content/0",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_url": "u"}]}]},
            "/input/0/content/0",
        ),
        ({"tools": [{"type": "web_search"}]}, "/tools/0"),
        ({"tools": 5}, "/tools"),
        ({"tools": [TOOL], "tool_choice": {"type": "file_search"}}, "/tool_choice"),
        (
            {
                "tools": [TOOL],
                "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"name": "x"}]},
            },
            "/tool_choice/tools",
        ),
        ({"background": True, "store": False}, "/store"),
        ({"conversation": "conv_1"}, "/conversation"),
        ({"prompt": {"id": "p"}}, "/prompt"),
        ({"stream": "yes"}, "/stream"),
        ({"max_output_tokens": 0}, "/max_output_tokens"),
        ({"truncation": "some"}, "/truncation"),
        ({"text": {"format": {"type": "xml"}}}, "/text/format"),
        ({"metadata": {"a": 1}}, "/metadata/a"),
        ({"reasoning": "low"}, "/reasoning"),
    ],
)
def test_what_cannot_be_served_is_refused_with_its_place(fields, pointer):
    with pytest.raises(MalformedCall) as refused:
        parsed(**fields)
    assert [error.pointer for error in refused.value.errors] == [pointer]


def test_members_that_only_openai_knows_go_to_openai_only():
    request = parsed(
        service_tier="flex", prompt_cache_key="k", text={"verbosity": "low"}, max_output_tokens=5
    )
    body = request.chat(request.items, stream=False)
    at_openai = orjson.loads(body.for_upstream("real", ask_usage=True, extensions=frozenset()))
    elsewhere = orjson.loads(body.for_upstream("real", ask_usage=True))
    assert (at_openai["service_tier"], at_openai["prompt_cache_key"], at_openai["verbosity"]) == (
        "flex",
        "k",
        "low",
    )
    assert (at_openai["max_completion_tokens"], at_openai["model"]) == (5, "real")
    assert elsewhere == {"model": "real", "messages": [USER], "max_tokens": 5}


def test_truncation_leaves_out_the_older_half_but_never_a_result_without_its_call():
    output = {"type": "function_call_output", "call_id": "c1", "output": "x"}
    question = {"type": "message", "role": "user", "content": "?"}
    items = [question, CALL, output, question, question]
    assert truncated(items) == [question, question]
    assert truncated([question, question]) == [question]
    assert truncated([question]) is None
    assert truncated([question, CALL, output]) is None
