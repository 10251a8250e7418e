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
