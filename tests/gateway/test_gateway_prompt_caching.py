"""The providers' own prompt caches: what callers say about them reaches the provider, and what was cached is priced."""

import httpx
from support.gateway_app import deployment

MARK = {"type": "ephemeral"}
USAGE = {
    "prompt_tokens": 1000,
    "completion_tokens": 10,
    "prompt_tokens_details": {"cached_tokens": 600, "cache_creation_tokens": 100},
}


def post(gateway, path, **fields):
    response = httpx.post(f"{gateway.url}/llm/v1/{path}", json={"model": "alias", **fields}, timeout=20)
    assert response.status_code == 200, response.text
    return response.json()


def test_a_chats_marks_and_keys_go_to_the_provider_as_they_came(gateway, provider):
    message = {"role": "user", "content": [{"type": "text", "text": "a long text", "cache_control": MARK}]}
    fields = {"messages": [message], "prompt_cache_key": "mine", "prompt_cache_retention": "24h"}
    provider.script([{"usage": USAGE}])
    answer = post(gateway, "chat/completions", **fields)
    sent = provider.requests()[-1].body
    assert {name: sent[name] for name in fields} == fields
    assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] == 600
    (row,) = gateway.wait_for_rows(1)
    assert (row["cached_tokens"], row["cache_write_tokens"], row["cached"]) == (600, 100, None)


def test_a_messages_marks_go_where_they_are_known(start_gateway, provider):
    fields = {
        "max_tokens": 50,
        "system": [{"type": "text", "text": "be brief", "cache_control": MARK}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": MARK}]}],
    }
    known = start_gateway(llm_deployments=[deployment(provider, provider="openrouter")])
    provider.script([{"usage": USAGE}])
    answer = post(known, "messages", **fields)
    assert str(provider.requests()[-1].body).count("cache_control") == 2
    assert answer["usage"]["cache_read_input_tokens"] == 600
    assert answer["usage"]["cache_creation_input_tokens"] == 100
    unknown = start_gateway(llm_deployments=[deployment(provider)])
    post(unknown, "messages", **fields)
    assert "cache_control" not in str(provider.requests()[-1].body)


def test_a_responses_key_is_left_out_where_it_would_be_refused(gateway, provider):
    provider.script([{"usage": USAGE}])
    answer = post(gateway, "responses", input="hi", prompt_cache_key="mine")
    assert "prompt_cache_key" not in provider.requests()[-1].body
    assert answer["usage"]["input_tokens_details"]["cached_tokens"] == 600


TALK = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    },
    {"role": "tool", "tool_call_id": "c", "content": "1"},
]


def ask_marked(gateway, marks):
    body = {"model": "alias", "messages": TALK}
    headers = {"signalbox-llm-cache-marks": marks}
    return httpx.post(f"{gateway.url}/llm/v1/chat/completions", json=body, headers=headers, timeout=20)


def test_marks_are_set_where_the_provider_wants_them_and_nowhere_else(start_gateway, provider):
    wanting = start_gateway(llm_deployments=[deployment(provider, capabilities={"cache_marks": True})])
    assert ask_marked(wanting, "0,1,2,3").status_code == 200
    system, user, call, result = provider.requests()[-1].body["messages"]
    assert system["content"] == [{"type": "text", "text": "be brief", "cache_control": MARK}]
    assert user["content"] == [
        {"type": "text", "text": "a"},
        {"type": "text", "text": "b", "cache_control": MARK},
    ]
    assert call == TALK[2], "there is nothing to mark"
    assert result == {**TALK[3], "cache_control": MARK}
    others = start_gateway(llm_deployments=[deployment(provider)])
    assert ask_marked(others, "0,1,3,99").status_code == 200
    assert provider.requests()[-1].body["messages"] == TALK
    refused = ask_marked(others, "first")
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "malformed_request")
