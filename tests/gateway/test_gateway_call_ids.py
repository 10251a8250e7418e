"""What the headers of answers say: which call it was, however it ended, and what the key's limits have left."""

import logging

import anthropic
import httpx
import openai
import pytest
import yaml
from support.gateway_app import deployment, wait_for

from signalbox_fake_provider import FakeProvider

MESSAGES = [{"role": "user", "content": "hi"}]
ID = "signalbox-llm-call-id"
ROUTES = {
    "chat/completions": {"messages": MESSAGES},
    "embeddings": {"input": "hi"},
    "messages": {"messages": MESSAGES, "max_tokens": 5},
    "responses": {"input": "hi"},
}


@pytest.fixture
def limited(start_gateway, provider: FakeProvider, tmp_path):
    """Starts a gateway with limits of the test's choice."""

    def start(*limits, **sections):
        able = {"capabilities": {"embeddings": True}}
        content = {
            "deployments": [deployment(provider, **able)],
            "models": [{"name": "*", "max_attempts": 1}],
            "limits": list(limits),
            **sections,
        }
        file = tmp_path / "gateway.yaml"
        file.write_text(yaml.safe_dump(content))
        return start_gateway(llm_deployments_file=file)

    return start


def post(gateway, path="chat/completions", **fields):
    body = {"model": "alias", **ROUTES[path], **fields}
    return httpx.post(f"{gateway.url}/llm/v1/{path}", json=body, timeout=20)


@pytest.mark.parametrize("lane", [True, False], indirect=True, ids=["lane", "routes"])
@pytest.mark.parametrize("path", ROUTES)
def test_a_call_that_failed_names_its_row(limited, provider, path):
    able = {"embeddings": True}
    gateway = limited(deployments=[deployment(provider, timeout_s=0.3, capabilities=able)])
    faults = ({"status": 400}, {"status": 503}, {"status": 401}, "hang", None)
    for number, fault in enumerate(faults):
        provider.script([] if fault is None else [{"fault": fault}])
        answer = post(gateway, path)
        assert (answer.status_code == 200) == (fault is None)
        rows = gateway.wait_for_rows(number + 1)
        assert answer.headers[ID] == rows[number]["call_id"]


@pytest.mark.parametrize("lane", [True, False], indirect=True, ids=["lane", "routes"])
@pytest.mark.parametrize("path", ROUTES)
def test_a_call_that_a_limit_refused_has_an_id_that_the_log_knows(limited, provider, caplog, path):
    caplog.set_level(logging.INFO)
    gateway = limited({"name": "few", "of": "tenant", "requests": 1})
    assert post(gateway, path).status_code == 200
    refused = post(gateway, path)
    assert refused.status_code == 429
    assert refused.headers["signalbox-limit"] == "few"
    (line,) = [each for each in caplog.records if getattr(each, "call_id", "") == refused.headers[ID]]
    assert (line.getMessage(), line.code) == ("model call refused", "limit_exceeded")


@pytest.mark.parametrize("lane", [True, False], indirect=True, ids=["lane", "routes"])
def test_limits_are_told_as_openais_clients_read_them(limited, provider):
    gateway = limited(
        {"name": "wide", "of": "tenant", "requests": 100, "tokens": 100_000, "window_s": 3600},
        {"name": "narrow", "of": "model", "requests": 3, "parallel": 50},
    )
    completions = gateway.client().chat.completions.with_raw_response
    for left in (2, 1, 0):
        headers = completions.create(
            model="alias", messages=MESSAGES, max_tokens=500, stream=left == 1
        ).headers
        told = {
            name: headers[f"x-ratelimit-{name}"]
            for name in ("limit-requests", "remaining-requests", "limit-tokens")
        }
        assert told == {"limit-requests": "3", "remaining-requests": str(left), "limit-tokens": "100000"}
        assert 90_000 < int(headers["x-ratelimit-remaining-tokens"]) <= 100_000 - 500
        assert (headers["x-ratelimit-reset-requests"], headers["x-ratelimit-reset-tokens"]) == (
            "1m1s",
            "1h1m0s",
        )
    with pytest.raises(openai.RateLimitError) as refused:
        completions.create(model="alias", messages=MESSAGES)
    headers = refused.value.response.headers
    assert (headers["x-ratelimit-limit-requests"], headers["x-ratelimit-remaining-requests"]) == ("3", "0")
    assert int(headers["x-ratelimit-remaining-tokens"]) > 90_000
    assert headers["signalbox-limit"] == "narrow"
    messages = anthropic.Anthropic(base_url=f"{gateway.url}/llm", api_key="local", max_retries=0).messages
    with pytest.raises(anthropic.RateLimitError) as other:
        messages.create(model="alias", messages=MESSAGES, max_tokens=5)
    assert other.value.response.headers["x-ratelimit-remaining-requests"] == "0"


def test_where_no_limit_of_requests_or_tokens_applies_none_is_told(limited, provider):
    gateway = limited({"name": "two", "of": "tenant", "parallel": 2})
    assert not [name for name in post(gateway).headers if name.startswith("x-ratelimit")]


def test_a_reply_that_is_given_again_says_nothing_of_limits_of_another_time(limited, provider):
    gateway = limited({"name": "few", "of": "tenant", "requests": 3})
    headers = {"idempotency-key": "one"}

    def ask():
        body = {"model": "alias", "messages": MESSAGES}
        return httpx.post(f"{gateway.url}/llm/v1/chat/completions", json=body, headers=headers, timeout=20)

    first, again = ask(), ask()
    assert first.headers["x-ratelimit-remaining-requests"] == "2"
    assert "x-ratelimit-remaining-requests" not in again.headers
    assert (again.headers["signalbox-llm-replayed"], again.headers[ID]) == ("true", first.headers[ID])


def test_replicas_tell_what_is_left_of_a_shared_limit(gateways, provider):
    pair = gateways(2, limits=[{"name": "few", "of": "tenant", "requests": 4, "tokens": 5000}])
    left = [
        post(pair[number % 2], max_tokens=100).headers["x-ratelimit-remaining-requests"]
        for number in range(4)
    ]
    assert left == ["3", "2", "1", "0"]
    refused = post(pair[0])
    assert (refused.status_code, refused.headers["x-ratelimit-remaining-requests"]) == (429, "0")


def test_look_ups_of_kept_answers_are_counted_by_kind(limited, provider):
    embedding = deployment(
        provider, "fake-embedding", upstream_model=None, capabilities={"embeddings": True, "chat": False}
    )
    semantic = {"embedding_model": "fake-embedding", "threshold": 0.95, "ttl_s": 60}
    gateway = limited(
        deployments=[deployment(provider), embedding],
        caches=[{"model": "alias", "ttl_s": 60, "coalesce": True, "semantic": semantic}],
    )

    def lookups():
        text = httpx.get(f"{gateway.url}/metrics").text
        found = [line for line in text.splitlines() if line.startswith("signalbox_llm_cache_lookups_total")]
        return {line.split("}")[0].split("{")[1]: float(line.split()[-1]) for line in found}

    def ask(text):
        return post(gateway, messages=[{"role": "user", "content": text}]).headers["signalbox-llm-cache"]

    assert ask("What is the capital of France?") == "miss"
    missed = {f'kind="{kind}",result="miss"': 1.0 for kind in ("exact", "semantic", "coalesced")}
    assert lookups() == missed
    wait_for(lambda: ask("what is the Capital of FRANCE") == "semantic")
    assert lookups()['kind="semantic",result="hit"'] == 1
    before = lookups().get('kind="exact",result="hit"', 0)
    assert ask("What is the capital of France?") == "hit"
    assert lookups()['kind="exact",result="hit"'] == before + 1
