"""Answers to questions that mean the same: who gets them, what the vectors cost, and what is not compared."""

import httpx
import pytest
import yaml
from support.gateway_app import deployment, wait_for

from signalbox.common.auth import ServiceTokens
from signalbox.common.storage.migrations import MigrationSource
from signalbox.contracts.identity import Principal, Scope
from signalbox_local import RedisServer

SECRET = "a secret that every service of this test knows"
ASKED = "What is the capital of France?"
SAME = "what is the Capital of FRANCE"
OTHER = "how do I return a parcel that came broken"


def key_of(tenant):
    """A credential of a service that acts for a principal."""
    principal = Principal(tenant=tenant, subject="key:1", scopes=frozenset({Scope.LLM}))
    return ServiceTokens(SECRET, "workflow").mint("llm_gateway", principal)


@pytest.fixture
def start_semantic(start_gateway, provider, tmp_path):
    """Starts gateways that compare the questions to ``alias`` by the vectors of ``fake-embedding``."""

    def start(rule=None, sections=None, **settings):
        embedding = deployment(
            provider,
            "fake-embedding",
            upstream_model=None,
            capabilities={"embeddings": True, "chat": False},
        )
        semantic = {"embedding_model": "fake-embedding", "threshold": 0.95, "ttl_s": 60, **(rule or {})}
        content = {
            "deployments": [deployment(provider), embedding],
            "caches": [{"model": "alias", "semantic": semantic}],
            **(sections or {}),
        }
        file = tmp_path / "gateway.yaml"
        file.write_text(yaml.safe_dump(content))
        return start_gateway(llm_deployments_file=file, **settings)

    return start


def post(gateway, text=ASKED, headers=None, path="chat/completions", **fields):
    body = {"model": "alias", "messages": [{"role": "user", "content": text}], **fields}
    sent = {"authorization": "Bearer local", **(headers or {})}
    return httpx.post(f"{gateway.url}/llm/v1/{path}", json=body, headers=sent, timeout=20)


def cached(response):
    assert response.status_code == 200, response.text
    return response.headers["signalbox-llm-cache"]


def chats(provider):
    return [record for record in provider.requests() if record.path.endswith("/chat/completions")]


def test_a_question_that_means_the_same_gets_the_answer_plain_and_streamed(start_semantic, provider):
    gateway = start_semantic()
    first = post(gateway)
    assert cached(first) == "miss"
    wait_for(lambda: cached(post(gateway, SAME)) == "semantic")
    made = len(chats(provider))
    again, streamed = post(gateway, SAME), post(gateway, SAME, stream=True)
    assert (cached(again), cached(streamed)) == ("semantic", "semantic")
    assert again.json() == first.json()
    assert "France" in streamed.text
    assert streamed.text.endswith("data: [DONE]\n\n")
    assert cached(post(gateway, OTHER)) == "miss"
    assert len(chats(provider)) == made + 1


def test_a_vector_is_a_call_of_its_own_and_the_answer_costs_nothing(start_semantic, provider):
    gateway = start_semantic()
    labels = [cached(post(gateway))]
    wait_for(lambda: labels.append(cached(post(gateway, SAME))) or labels[-1] == "semantic")
    rows = gateway.wait_for_rows(2 * len(labels))
    embedded = [row for row in rows if row["operation"] == "embeddings"]
    asked = [row for row in rows if row["operation"] != "embeddings"]
    assert len(embedded) == len(asked)
    assert {(row["purpose"], row["model_asked"], row["outcome"]) for row in embedded} == {
        ("embedding", "fake-embedding", "ok")
    }
    assert all(row["cost_pico"] > 0 for row in embedded)
    assert asked[0]["cached"] is None
    assert (asked[-1]["cached"], asked[-1]["cost_pico"], asked[-1]["output_tokens"]) == ("semantic", 0, 0)


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 0.3},
        {"max_tokens": 7},
        {"response_format": {"type": "json_object"}},
        {"messages": [{"role": "system", "content": "be rude"}, {"role": "user", "content": SAME}]},
        {"messages": [{"role": "user", "content": "hi"}, {"role": "user", "content": SAME}]},
    ],
)
def test_everything_else_must_be_equal(start_semantic, provider, fields):
    gateway = start_semantic()
    post(gateway)
    wait_for(lambda: cached(post(gateway, SAME)) == "semantic")
    assert cached(post(gateway, SAME, **fields)) == "miss"


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"messages": [{"role": "user", "content": ASKED}, {"role": "assistant", "content": "Well"}]},
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}],
                }
            ]
        },
    ],
)
def test_calls_with_tools_or_without_a_text_at_the_end_are_not_compared(start_semantic, provider, fields):
    gateway = start_semantic()
    for _ in range(2):
        post(gateway, **fields)
    assert len(provider.requests()) == len(chats(provider)) == 2


def test_a_tenant_is_not_answered_with_what_another_was(start_semantic, provider):
    gateway = start_semantic(auth="keys", service_secret=SECRET)
    mine, other = ({"authorization": f"Bearer {key_of(tenant)}"} for tenant in ("acme", "rival"))
    post(gateway, headers=mine)
    wait_for(lambda: cached(post(gateway, SAME, headers=mine)) == "semantic")
    assert cached(post(gateway, SAME, headers=other)) == "miss"


def test_the_caller_decides_and_the_time_of_an_answer_is_kept(start_semantic, provider):
    gateway = start_semantic({"ttl_s": 2})
    post(gateway)
    wait_for(lambda: cached(post(gateway, SAME)) == "semantic")
    for control in ("no-store", "no-cache", "max-age=0"):
        # Nothing is left to be done for such a call, so its answer says nothing of it.
        assert "signalbox-llm-cache" not in post(gateway, SAME, headers={"cache-control": control}).headers
    wait_for(lambda: cached(post(gateway, "France what is the capital of")) == "miss")


def test_without_a_vector_the_model_answers(start_semantic, provider):
    limits = [{"name": "embeddings", "of": "model", "only": "fake-embedding", "requests": 1}]
    gateway = start_semantic(sections={"limits": limits})
    assert [cached(post(gateway)) for _ in range(3)] == ["miss"] * 3
    assert len(chats(provider)) == 3
    provider.script([{"match": {"endpoint": "embeddings"}, "fault": {"status": 400}}])
    other = start_semantic({"embedding_model": "fake-embedding"})
    assert cached(post(other)) == "miss"


def test_replicas_learn_from_each_other(start_semantic, provider, database_supply, tmp_path):
    source = MigrationSource("llm_gateway", "signalbox.llm_gateway.migrations")
    url = database_supply.url(source, "postgresql", tmp_path)
    with RedisServer() as redis:
        first, second = (start_semantic(database_url=url, redis_url=redis.url) for _ in range(2))
        post(first)
        wait_for(lambda: cached(post(second, SAME)) == "semantic")
        for gateway in (first, second):
            gateway.stop()
