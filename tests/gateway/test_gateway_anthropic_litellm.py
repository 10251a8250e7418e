"""A deployment of Anthropic's own: a message goes through chat, litellm, and is Anthropic's protocol again.

A second gateway stands for Anthropic: litellm calls its Messages API, and the fake provider behind it shows what of
the request arrived.
"""

import anthropic
import pytest
from support.gateway_app import deployment

MARK = {"type": "ephemeral"}
MODEL = "claude-sonnet-4-5"
TOOL = {
    "name": "get_order",
    "input_schema": {"type": "object", "properties": {"order_number": {"type": "integer"}}},
    "cache_control": MARK,
}


@pytest.fixture
def client(start_gateway, provider, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_KEY_OF_TEST", "sk-ant-any")
    # A provider of this name is sent ``cache_control`` and ``top_k`` on.
    back = start_gateway(llm_deployments=[deployment(provider, MODEL, provider="openrouter")])
    front = start_gateway(
        llm_deployments=[
            {
                "model": "claude",
                "upstream_model": MODEL,
                "provider": "anthropic",
                "base_url": f"{back.url}/llm",
                "key": "env:ANTHROPIC_KEY_OF_TEST",
            }
        ]
    )
    return anthropic.Anthropic(base_url=f"{front.url}/llm", api_key="local", max_retries=0)


def test_marks_for_the_cache_and_top_k_arrive_at_a_provider_that_knows_them(client, provider):
    usage = {
        "prompt_tokens": 900,
        "prompt_tokens_details": {"cached_tokens": 600, "cache_creation_tokens": 200},
    }
    provider.script([{"reply": "ok", "usage": usage}])
    message = client.messages.create(
        model="claude",
        max_tokens=50,
        system=[{"type": "text", "text": "Be brief.", "cache_control": MARK}],
        messages=[
            {"role": "user", "content": [{"type": "text", "text": "a long text", "cache_control": MARK}]}
        ],
        tools=[TOOL],
        extra_body={"top_k": 5},
    )
    assert message.content[0].text == "ok"
    found = message.usage
    assert (found.input_tokens, found.cache_read_input_tokens, found.cache_creation_input_tokens) == (
        100,
        600,
        200,
    )
    body = provider.requests()[-1].body
    system, question = body["messages"]
    assert system["content"][0]["cache_control"] == MARK
    assert question["content"][0]["cache_control"] == MARK
    assert body["tools"][0]["cache_control"] == MARK
    assert body["top_k"] == 5


@pytest.mark.parametrize("stream", [False, True])
def test_tools_are_called_and_answered_through_both_translations(client, provider, stream):
    calls = [{"name": "get_order", "arguments": {"order_number": number}} for number in (1042, 7)]
    provider.script(
        [
            {
                "match": {"has_tool_result": False},
                "reply": {"content": "Let me see.", "tool_calls": calls},
            },
            {"match": {"has_tool_result": True}, "reply": "It is on its way."},
        ]
    )
    ask = [{"role": "user", "content": "where are they?"}]

    def message(messages):
        asked = {"model": "claude", "max_tokens": 50, "messages": messages, "tools": [TOOL]}
        if not stream:
            return client.messages.create(**asked)
        with client.messages.stream(**asked) as streamed:
            return streamed.get_final_message()

    first = message(ask)
    assert first.stop_reason == "tool_use"
    assert [block.type for block in first.content] == ["text", "tool_use", "tool_use"]
    assert [block.input["order_number"] for block in first.content[1:]] == [1042, 7]
    results = [
        {"type": "tool_result", "tool_use_id": block.id, "content": "shipped"} for block in first.content[1:]
    ]
    last = message([*ask, first.to_param(), {"role": "user", "content": results}])
    assert (last.content[0].text, last.stop_reason) == ("It is on its way.", "end_turn")
    sent = provider.requests()[-1].body["messages"]
    assert [item["tool_call_id"] for item in sent if item["role"] == "tool"] == [
        block.id for block in first.content[1:]
    ]


def test_a_refusal_keeps_its_class(client, provider):
    provider.script([{"fault": {"status": 429, "code": "slow"}}])
    with pytest.raises(anthropic.RateLimitError):
        client.messages.create(model="claude", max_tokens=5, messages=[{"role": "user", "content": "x"}])
