"""Answers that are given again: to whom, in which form, at what cost, and what they must not be given for."""

import contextlib

import httpx
import openai
import pytest
import yaml
from support.gateway_app import deployment, wait_for

from signalbox.common.auth import ServiceTokens
from signalbox.common.storage.migrations import MigrationSource
from signalbox.contracts.identity import Principal, Scope
from signalbox_local import RedisServer

ASK = [{"role": "user", "content": "what is the capital of France?"}]
TOOLS = [{"type": "function", "function": {"name": "find_order", "parameters": {"type": "object"}}}]
TALK = {
    "reply": {
        "content": "Let me look, 现在 and then.",
        "tool_calls": [
            {"id": "call_a", "name": "find_order", "arguments": {"order_id": 1042, "note": "a b  c"}},
            {"id": "call_b", "name": "find_order", "arguments": {"order_id": 7}},
        ],
    }
}
SECRET = "a secret that every service of this test knows"


def key_of(tenant, subject="key:1"):
    """A credential of a service that acts for a principal."""
    principal = Principal(tenant=tenant, subject=subject, scopes=frozenset({Scope.LLM}))
    return ServiceTokens(SECRET, "workflow").mint("llm_gateway", principal)


@pytest.fixture
def start_caching(start_gateway, provider, tmp_path):
    """Starts gateways that keep the answers of ``alias``, and of what else the rules say."""

    def start(*rules, sections=None, **settings):
        file = tmp_path / "gateway.yaml"
        declared = [
            deployment(provider),
            deployment(provider, "plain"),
            deployment(provider, "backup", upstream_model="fake-small"),
            deployment(
                provider,
                "fake-embedding",
                upstream_model=None,
                capabilities={"embeddings": True, "chat": False},
            ),
        ]
        file.write_text(
            yaml.safe_dump(
                {
                    "deployments": declared,
                    "caches": list(rules) or [{"model": "alias", "ttl_s": 60}],
                    **(sections or {}),
                }
            )
        )
        return start_gateway(llm_deployments_file=file, **settings)

    return start


@pytest.fixture
def caching(start_caching):
    return start_caching()


def post(gateway, path="chat/completions", headers=None, **fields):
    body = {"model": "alias", "messages": ASK, **fields}
    body = {name: value for name, value in body.items() if value is not None}
    return httpx.post(
        f"{gateway.url}/llm/v1/{path}",
        json=body,
        headers={"authorization": "Bearer local", **(headers or {})},
        timeout=20,
    )


def cached(response):
    return response.headers["signalbox-llm-cache"]


def accumulated(client, **fields):
    """What the SDK makes of a stream."""
    with client.chat.completions.stream(model="alias", messages=ASK, **fields) as stream:
        for _ in stream:
            pass
        return stream.get_final_completion().to_dict()


def test_a_second_call_costs_nothing_and_gets_the_same_answer(caching, provider):
    first, second = post(caching), post(caching)
    assert (cached(first), cached(second)) == ("miss", "hit")
    assert second.json() == first.json()
    assert second.json()["usage"]["completion_tokens"] > 0
    assert second.headers["signalbox-llm-cost"] == "0 USD"
    assert second.headers["signalbox-llm-call-id"] != first.headers["signalbox-llm-call-id"]
    assert len(provider.requests()) == 1
    made, hit = caching.wait_for_rows(2)
    assert (made["cached"], made["cost_pico"] > 0) == (None, True)
    assert (hit["cached"], hit["outcome"], hit["status"]) == ("exact", "ok", 200)
    assert (hit["cost_pico"], hit["priced"], hit["currency"]) == (0, 1, "USD")
    assert (hit["input_tokens"], hit["output_tokens"], hit["estimated"]) == (0, 0, 0)
    assert len(caching.rows("ledger_attempts")) == 1


@pytest.mark.parametrize("made_streamed", [True, False])
@pytest.mark.parametrize("rule", [{}, {"usage": False}])
def test_one_entry_answers_plain_and_streamed_as_the_sdk_reads_them(caching, provider, made_streamed, rule):
    provider.script([{**TALK, **rule}])
    client = caching.client()
    fields = {"tools": TOOLS, "parallel_tool_calls": True}
    if made_streamed:
        original = accumulated(client, **fields)
    else:
        original = client.chat.completions.create(model="alias", messages=ASK, **fields).to_dict()
    streamed = accumulated(client, stream_options={"include_usage": True}, **fields)
    plain = client.chat.completions.create(model="alias", messages=ASK, **fields).to_dict()
    assert len(provider.requests()) == 1
    for found in (streamed, plain):
        assert found["id"] == original["id"]
        assert found["model"] == "alias"
        (choice,), (wanted,) = found["choices"], original["choices"]
        assert choice["finish_reason"] == wanted["finish_reason"] == "tool_calls"
        assert choice["message"]["content"] == TALK["reply"]["content"]
        calls = [
            (call["id"], call["function"]["name"], call["function"]["arguments"])
            for call in choice["message"]["tool_calls"]
        ]
        assert calls == [
            (call["id"], call["function"]["name"], call["function"]["arguments"])
            for call in wanted["message"]["tool_calls"]
        ]
        if not rule:
            assert found["usage"]["prompt_tokens"] > 0
    assert {row["cached"] for row in caching.wait_for_rows(3)} == {None, "exact"}


def test_a_streamed_replay_is_a_whole_event_stream(caching, provider):
    provider.script([{"reply": "one two three"}])
    original = post(caching, stream=True)
    plainly = post(caching, stream=True)
    asked = post(caching, stream=True, stream_options={"include_usage": True})
    assert (cached(original), cached(plainly), cached(asked)) == ("miss", "hit", "hit")
    for response in (original, plainly, asked):
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.text.endswith("data: [DONE]\n\n")
    assert '"usage":{' not in original.text + plainly.text
    events = [line[6:] for line in asked.text.splitlines() if line.startswith("data: ")]
    chunks = [httpx.Response(200, text=text).json() for text in events[:-1]]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks[:-1]]
    assert deltas[0]["role"] == "assistant"
    assert [delta.get("content") for delta in deltas[1:-1]] == ["one", " two", " three"]
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] > 0
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1


DIFFERENT = [
    {"temperature": 0.5},
    {"temperature": 0},
    {"top_p": 0.5},
    {"n": 2},
    {"seed": 7},
    {"seed": 123456789012345678901},
    {"seed": 123456789012345678902},
    {"max_tokens": 5},
    {"max_completion_tokens": 5},
    {"stop": ["x"]},
    {"presence_penalty": 0.1},
    {"frequency_penalty": 0.1},
    {"logit_bias": {"50256": -100}},
    {"logprobs": True},
    {"top_logprobs": 2},
    {"response_format": {"type": "json_object"}},
    {"reasoning_effort": "high"},
    {"tools": TOOLS},
    {"tools": TOOLS, "tool_choice": "required"},
    {"tools": TOOLS, "parallel_tool_calls": False},
    {"service_tier": "flex"},
    {"verbosity": "low"},
    {"modalities": ["text"]},
    {"web_search_options": {}},
    {"a_member_that_nobody_knows": 1},
    {"messages": [{"role": "system", "content": "be brief"}, *ASK]},
    {"messages": [{**ASK[0], "name": "ada"}]},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": ASK[0]["content"]}]}]},
    {"messages": [{"role": "user", "content": ASK[0]["content"] + " "}]},
]
SAME = [
    {"stream": False},
    {"user": "ada"},
    {"metadata": {"a": "b"}},
    {"store": False},
    {"safety_identifier": "ada"},
    {"prompt_cache_key": "p"},
]


def test_what_changes_an_answer_is_in_its_key_and_what_does_not_is_not(caching, provider):
    assert cached(post(caching)) == "miss"
    for fields in SAME:
        assert cached(post(caching, **fields)) == "hit", fields
    for fields in DIFFERENT:
        assert cached(post(caching, **fields)) == "miss", fields
    for fields in DIFFERENT:
        assert cached(post(caching, **fields)) == "hit", fields
    assert len(provider.requests()) == 1 + len(DIFFERENT)


def test_the_order_of_members_does_not_matter_and_a_member_given_twice_is_not_kept(caching, provider):
    bodies = [
        b'{"model":"alias","temperature":0,"messages":[{"role":"user","content":"hi"}]}',
        b'{ "messages" : [{"content":"hi","role":"user"}],\n "temperature":0, "model":"\\u0061lias"}',
        b'{"model":"alias","temperature":1,"temperature":0,"messages":[{"role":"user","content":"hi"}]}',
    ]
    url = f"{caching.url}/llm/v1/chat/completions"
    got = [httpx.post(url, content=body, headers={"authorization": "Bearer local"}) for body in bodies]
    assert [response.headers.get("signalbox-llm-cache") for response in got] == ["miss", "hit", None]
    assert len(provider.requests()) == 2


def test_a_tenant_never_gets_the_answer_of_another(start_caching, provider):
    gateway = start_caching(auth="keys", service_secret=SECRET)
    labels = [
        cached(post(gateway, headers={"authorization": f"Bearer {key_of(tenant, subject)}"}))
        for tenant, subject in [("acme", "key:1"), ("rival", "key:1"), ("acme", "key:2"), ("rival", "key:1")]
    ]
    assert labels == ["miss", "miss", "hit", "hit"]
    assert len(provider.requests()) == 2


def test_a_caller_can_ask_for_less_and_for_more(caching, provider):
    def labels(*controls, model="alias"):
        return [
            post(caching, headers={"cache-control": control} if control else {}, model=model).headers.get(
                "signalbox-llm-cache"
            )
            for control in controls
        ]

    assert labels("no-store", None) == ["miss", "miss"]
    assert labels(None, "no-cache", "max-age=0", "max-age=60", "no-store") == [
        "hit",
        "miss",
        "miss",
        "hit",
        "miss",
    ]
    provider.reset()
    assert labels(None, None, model="plain") == [None, None]
    assert labels("max-age=60", "max-age=60", model="plain") == ["miss", "hit"]


def test_protocols_keep_apart_and_each_is_kept(caching, provider):
    post(caching)
    message = {"max_tokens": 100}
    for path, fields in (
        ("messages", message),
        ("responses", {"messages": None, "input": ASK[0]["content"]}),
    ):
        first, second = (post(caching, path, **fields) for _ in range(2))
        assert (cached(first), cached(second)) == ("miss", "hit"), path
        streamed = post(caching, path, stream=True, **fields)
        assert cached(streamed) == "hit"
        assert "France" in streamed.text
    assert len(provider.requests()) == 3


def test_embeddings_are_kept(start_caching, provider):
    gateway = start_caching({"model": "*", "ttl_s": 60})
    fields = {"model": "fake-embedding", "messages": None, "input": ["one", "two"]}
    first, second = (post(gateway, "embeddings", **fields) for _ in range(2))
    assert (cached(first), cached(second)) == ("miss", "hit")
    assert second.json() == first.json()
    assert cached(post(gateway, "embeddings", **{**fields, "dimensions": 8})) == "miss"


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize(
    "rule",
    [
        {"fault": {"status": 503}},
        {"fault": "content_filter"},
        {"reply": {"content": "cut off", "finish_reason": "length"}},
        {"reply": {"content": "", "finish_reason": "content_filter"}},
        {"fault": {"kind": "error_in_stream", "after_chunks": 1}},
        {"fault": {"kind": "cut", "after_chunks": 1}},
        {"reply": "x " * 3000},
    ],
)
def test_what_failed_was_cut_off_or_is_too_large_is_not_kept(start_caching, provider, rule, streamed):
    gateway = start_caching({"model": "alias", "ttl_s": 60, "max_bytes": 2048})
    provider.script([rule])
    post(gateway, stream=streamed)
    made = len(provider.requests())
    provider.script([])
    assert cached(post(gateway, stream=streamed)) == "miss"
    assert len(provider.requests()) == made + 1


def test_a_stream_whose_client_left_is_not_kept(caching, provider):
    provider.script([{"fault": {"kind": "stall", "after_chunks": 1}}])
    body = {"model": "alias", "messages": ASK, "stream": True}
    with httpx.stream("POST", f"{caching.url}/llm/v1/chat/completions", json=body) as response:
        next(response.iter_raw())
    provider.wait_until(lambda seen: seen[-1].disconnected)
    provider.script([])
    assert cached(post(caching)) == "miss"


def test_an_answer_is_given_for_its_time_only(start_caching, provider):
    gateway = start_caching({"model": "alias", "ttl_s": 1})
    assert [cached(post(gateway)) for _ in range(2)] == ["miss", "hit"]
    wait_for(lambda: cached(post(gateway)) == "miss")
    assert len(provider.requests()) == 2


def test_replicas_share_what_is_kept_and_do_without_when_redis_is_away(
    start_caching, provider, caplog, database_supply, tmp_path
):
    source = MigrationSource("llm_gateway", "signalbox.llm_gateway.migrations")
    url = database_supply.url(source, "postgresql", tmp_path)
    with RedisServer() as redis:
        first, second = (start_caching(database_url=url, redis_url=redis.url) for _ in range(2))
        assert cached(post(first)) == "miss"
        wait_for(lambda: cached(post(second)) == "hit")
        assert len(provider.requests()) == 1
        redis.freeze()
        caplog.clear()
        assert cached(post(second)) == "miss"
        spent = []
        for _ in range(5):
            response = post(second)
            assert cached(response) == "miss"
            spent.append(response.elapsed.total_seconds())
        assert sorted(spent)[2] < 0.2, "a call waits for a cache that is away"
        redis.thaw()
        wait_for(lambda: cached(post(second)) == "hit")
        said = [record.message for record in caplog.records if "kept answers" in record.message]
        assert len(said) == 2, said
        for gateway in (first, second):
            gateway.stop()


def test_a_wrong_rule_is_said_at_the_start(start_caching):
    with pytest.raises(Exception, match=r"caches\.0\.ttl"):
        start_caching({"model": "alias", "ttl": 60})


def test_the_gateways_errors_are_the_sdks_own(caching, provider):
    provider.script([{"fault": {"status": 429}}])
    with pytest.raises(openai.RateLimitError):
        caching.client().chat.completions.create(model="alias", messages=ASK)
    provider.script([])
    assert cached(post(caching)) == "miss"


def test_a_hit_takes_a_slot_and_frees_it(start_caching, provider):
    gateway = start_caching(sections={"limits": [{"name": "one", "of": "tenant", "parallel": 1}]})
    for streamed in (False, True):
        assert [cached(post(gateway, stream=streamed)) for _ in range(3)][1:] == ["hit", "hit"]
    provider.script([{"fault": "hang"}])
    with httpx.Client() as client, contextlib.suppress(httpx.TimeoutException):
        client.post(
            f"{gateway.url}/llm/v1/chat/completions", json={"model": "plain", "messages": ASK}, timeout=0.3
        )
    provider.wait_until(lambda seen: seen[-1].disconnected)
    wait_for(lambda: post(gateway).status_code == 200)


def test_what_a_fallback_model_answered_is_not_kept_under_the_name_of_the_other(start_caching, provider):
    gateway = start_caching(
        sections={"models": [{"name": "alias", "max_attempts": 1, "fallbacks": ["backup"]}]}
    )
    provider.script([{"match": {"model": "fake-model"}, "fault": {"status": 503}}])
    for streamed in (False, True):
        answer = post(gateway, stream=streamed)
        assert (answer.status_code, cached(answer)) == (200, "miss")
        assert '"backup"' in answer.text
    provider.script([])
    answer = post(gateway)
    assert (cached(answer), answer.json()["model"]) == ("miss", "alias")
