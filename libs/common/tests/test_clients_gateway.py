"""Calls of models through the gateway."""

import json
from dataclasses import replace

import pytest
from fastapi import FastAPI, Request, Response
from starlette.responses import StreamingResponse
from support.apps import SERVICE_SECRET, service_app

from signalbox.common.auth import ServiceTokens
from signalbox.common.clients import CallLabels, GatewayClient, ServiceCallFailed
from signalbox.common.clients.gateway import usage_of_chunk
from signalbox.common.telemetry import Tracing
from signalbox.common.transport import AsgiServiceHop
from signalbox.contracts.identity import Principal
from signalbox.contracts.llm import ChatRequest, Message

ALICE = Principal(tenant="acme", subject="key:alice")
REQUEST = ChatRequest(model="m", messages=[Message(role="user", content="hi")])
COUNTED = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}
LABELS = CallLabels("turn_1/match", session_id="会话 1", workflow_id="shop")


def gateway(answer, seen=None):
    app = FastAPI()

    @app.post("/llm/v1/chat/completions")
    async def chat(request: Request) -> Response:
        if seen is not None:
            seen.update(headers=dict(request.headers), body=await request.json())
        return answer

    return client(app)


def client(app):
    hop = AsgiServiceHop(app, service="llm_gateway")
    return GatewayClient(hop, ServiceTokens(SERVICE_SECRET, "workflow"), Tracing().tracer("workflow"))


def completion(**usage):
    choice = {"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}
    return {"id": "c1", "object": "chat.completion", "model": "m-2026", "choices": [choice], "usage": usage}


def stream(*events, cut=None):
    text = "".join(f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n" for event in events)
    raw = text.encode()
    size = cut or len(raw)

    async def chunks():
        for start in range(0, len(raw), size):
            yield raw[start : start + size]

    return StreamingResponse(chunks(), media_type="text/event-stream")


async def test_an_answer_with_its_tokens_and_cost():
    seen = {}
    answer = Response(
        json.dumps(completion(**COUNTED, prompt_tokens_details={"cached_tokens": 8})),
        headers={"Signalbox-Llm-Cost": "0.00012 EUR"},
    )
    got = await gateway(answer, seen).chat(REQUEST, ALICE, LABELS)
    assert got.reply.choices[0].message.content == "hello"
    assert got.usage.model_dump() == {
        "model": "m-2026",
        "input_tokens": 12,
        "output_tokens": 3,
        "cached_tokens": 8,
        "cost": "0.00012",
        "currency": "EUR",
    }
    assert seen["body"] == {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": False}
    headers = seen["headers"]
    assert headers["idempotency-key"] == "turn_1/match"
    assert headers["signalbox-session-id"] == "%E4%BC%9A%E8%AF%9D%201"
    assert headers["signalbox-workflow-id"] == "shop"
    assert headers["signalbox-purpose"] == "production"
    assert "signalbox-skill-id" not in headers


async def test_an_answer_without_a_price_has_no_cost():
    got = await gateway(Response(json.dumps(completion()))).chat(REQUEST, ALICE, LABELS)
    assert (got.usage.cost, got.usage.input_tokens) == (None, 0)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"error": {"message": "Slow down", "type": "requests", "code": "rate_limited"}}, "rate_limited"),
        ({"error": {"message": "Slow down", "type": "requests", "code": None}}, "requests"),
        ({"error": {}}, "model_error"),
    ],
)
async def test_an_error_in_openais_shape_keeps_its_code_and_its_wait(body, code):
    answer = Response(json.dumps(body), status_code=429, headers={"Retry-After": "2"})
    with pytest.raises(ServiceCallFailed) as failed:
        await gateway(answer).chat(REQUEST, ALICE, LABELS)
    assert (failed.value.upstream.status, failed.value.upstream.code) == (429, code)
    assert failed.value.headers == {"Retry-After": "2"}
    assert failed.value.service == "llm_gateway"


@pytest.mark.parametrize("body", ["", "<html>", '{"error": "plain text"}', "[]", "null"])
async def test_an_error_in_no_known_shape(body):
    with pytest.raises(ServiceCallFailed) as failed:
        await gateway(Response(body, status_code=500)).chat(REQUEST, ALICE, LABELS)
    assert (failed.value.upstream.status, failed.value.upstream.code) == (502, "unexpected_answer")


async def test_an_error_that_all_services_answer_alike_keeps_its_code():
    # The body limit answers before any route does, so it speaks problem details.
    big = ChatRequest(model="m", messages=[Message(role="user", content="x" * 9000)])
    with pytest.raises(ServiceCallFailed) as failed:
        await client(service_app(name="llm_gateway")).chat(big, ALICE, LABELS)
    assert failed.value.upstream.code == "payload_too_large"


@pytest.mark.parametrize("cut", [None, 1, 5])
async def test_a_streamed_answer_ends_with_its_usage(cut):
    seen = {}
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    answer = stream(
        {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
        {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"content": "你好"}}]},
        {"id": "c", "model": "m", "choices": [{"delta": {"content": "!"}, "finish_reason": "stop"}]},
        {"id": "c", "model": "m", "choices": [], "usage": usage, "signalbox_cost": "0.5 USD"},
        "[DONE]",
        cut=cut,
    )
    chunks = [chunk async for chunk in gateway(answer, seen).chat_stream(REQUEST, ALICE, LABELS)]
    assert "".join(chunk.text for chunk in chunks) == "你好!"
    counted = usage_of_chunk(chunks[-1])
    assert (counted.input_tokens, counted.output_tokens, counted.cost) == (5, 2, "0.5")
    assert seen["body"]["stream_options"] == {"include_usage": True}


async def test_members_that_providers_send_as_null_are_as_good_as_absent():
    answer = stream(
        {"choices": [{"delta": {"content": None, "tool_calls": None}, "finish_reason": None}], "usage": None},
        {"choices": None, "usage": {"prompt_tokens": 1}},
        "[DONE]",
    )
    chunks = [chunk async for chunk in gateway(answer).chat_stream(REQUEST, ALICE, LABELS)]
    assert chunks[0].choices[0].delta.tool_calls == []
    assert chunks[1].choices == []


async def test_an_error_in_the_stream_is_raised_with_its_code():
    answer = stream(
        {"choices": [{"delta": {"content": "par"}}]},
        {"error": {"message": "The provider broke off.", "type": "server_error", "code": "upstream_cut"}},
    )
    chunks = gateway(answer).chat_stream(REQUEST, ALICE, LABELS)
    assert (await anext(chunks)).text == "par"
    with pytest.raises(ServiceCallFailed) as failed:
        await anext(chunks)
    assert failed.value.upstream.code == "upstream_cut"


async def test_a_chunk_that_cannot_be_read_is_a_failure_and_not_a_crash():
    with pytest.raises(ServiceCallFailed) as failed:
        await anext(gateway(stream("{broken")).chat_stream(REQUEST, ALICE, LABELS))
    assert failed.value.upstream.code == "unexpected_answer"


async def test_models_and_their_roles():
    app = FastAPI()

    @app.get("/llm/v1/models")
    async def models() -> dict:
        return {"object": "list", "data": [{"id": "demo"}], "roles": {"match": "demo"}}

    listed = await client(app).models(ALICE)
    assert ([model.id for model in listed.data], listed.roles) == (["demo"], {"match": "demo"})


@pytest.mark.parametrize(
    ("reported", "cached"),
    [
        ({"prompt_cache_hit_tokens": 7}, 7),
        ({"cache_read_input_tokens": 6}, 6),
        ({"prompt_tokens_details": None}, 0),
        ({"prompt_tokens_details": {"cached_tokens": "many"}}, 0),
    ],
)
async def test_cached_tokens_in_the_words_of_several_providers(reported, cached):
    answer = Response(json.dumps(completion(**COUNTED, **reported)))
    got = await gateway(answer).chat(REQUEST, ALICE, replace(LABELS, stable_ends=(0, 4)))
    assert got.usage.cached_tokens == cached


async def test_stable_beginnings_are_named_in_a_header():
    seen = {}
    answer = Response(json.dumps(completion(**COUNTED)))
    await gateway(answer, seen).chat(REQUEST, ALICE, replace(LABELS, stable_ends=(0, 4)))
    assert seen["headers"]["signalbox-llm-cache-marks"] == "0,4"
