"""Tool calls from the request to what leaves the process, over hand-written ports."""

import asyncio
import json
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from signalbox.common.cache import MemoryCache
from signalbox.common.http_calls import HttpCallExecutor
from signalbox.common.secrets import Secret
from signalbox.common.telemetry.metrics import Metrics
from signalbox.common.transport import OutboundRequest, OutboundResponse
from signalbox.common.write_gate import WriteGate
from signalbox.contracts.context import CallContext
from signalbox.contracts.work import ToolCallReply, ToolCallRequest
from signalbox.contracts.workflow_config import WorkflowConfig
from signalbox.tools.importing.origins import OpenApiOrigins
from signalbox.tools.mcp.servers import McpServers
from signalbox.tools.metrics import ToolMetrics
from signalbox.tools.registry import Registry
from signalbox.tools.result_cache import ResultCache
from signalbox.tools.service import ToolCalls

PLANTED = "s3cr3t-pl4nted"
HASH = "a" * 64
ORDER = {
    "type": "object",
    "properties": {"order": {"type": "integer"}, "customer": {"type": "string"}},
    "required": ["order", "customer"],
    "additionalProperties": False,
}
CONFIG: dict[str, Any] = {
    "workflow_id": "shop",
    "name": "Shop",
    "variables": {"base": "https://shop.example", "limit": 5},
    "tools": [
        {
            "id": "get_order",
            "parameters": ORDER,
            "context": {"customer": "{{ context.user_id }}"},
            "request": {
                "url": "{{ vars.base }}/orders/{{ arguments.order }}",
                "query": {"customer": "{{ arguments.customer }}", "limit": "{{ vars.limit }}"},
            },
            "auth": {"type": "bearer", "token": "secret:token"},
            "cache_seconds": 60,
            "retry": {"backoff_ms": 0},
        },
        {
            "id": "pay",
            "parameters": {"type": "object", "properties": {"amount": {"type": "number"}}},
            "effect": "write",
            "request": {
                "method": "POST",
                "url": "{{ vars.base }}/pay",
                "body": {"amount": "{{ arguments.amount }}"},
            },
        },
        {"id": "count", "python": "count_words", "cache_seconds": 60},
        {"id": "note", "python": "note", "effect": "write"},
        {"id": "explode", "python": "explode"},
        {"id": "slow", "python": "slow", "timeout_ms": 20},
        {"id": "absent", "python": "absent"},
        {"id": "remote", "mcp": {"url": "https://mcp.example/mcp", "tool": "search"}},
        {
            "id": "spelt",
            "parameters": {"type": "object", "properties": {"x": {"type": "string", "pattern": "(a+)+$"}}},
            "request": {"url": "https://shop.example/spelt"},
        },
        {"id": "broken", "request": {"url": "https://{{ arguments.host }}/"}},
    ],
}


class FakeOutbound:
    """The shop: it echoes what it was asked."""

    def __init__(self) -> None:
        self.sent: list[OutboundRequest] = []
        self.status = 200
        self.answered = 0
        self.called = asyncio.Event()
        self.gate: asyncio.Event | None = None

    async def send(self, request: OutboundRequest) -> OutboundResponse:
        self.sent.append(request)
        self.called.set()
        if self.gate is not None:
            await self.gate.wait()
        self.answered += 1
        body = {"url": request.url, "said": request.headers.get("Authorization"), "n": len(self.sent)}
        return OutboundResponse(self.status, {"content-type": "application/json"}, json.dumps(body).encode())

    async def aclose(self) -> None:
        """Nothing is open."""


class FakeSecrets:
    async def get(self, tenant: str, name: str) -> Secret:
        return Secret(PLANTED)


class FakeRegistries:
    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    async def get(self, tenant: str, config_hash: str) -> Registry:
        return self.registry


def count_words(arguments: Any, context: CallContext) -> Any:
    return {"words": len(arguments.get("text", "").split()), "tenant": context.tenant}


def explode(arguments: Any, context: CallContext) -> Any:
    raise RuntimeError(PLANTED)


async def note(arguments: Any, context: CallContext, *, idempotency_key: str) -> Any:
    return {"under": idempotency_key}


async def slow(arguments: Any, context: CallContext) -> Any:
    await asyncio.Event().wait()


class Bench:
    """The service with its fakes."""

    def __init__(self, **overrides: str) -> None:
        functions = {"count_words": count_words, "explode": explode, "slow": slow, "note": note}
        self.outbound = FakeOutbound()
        self.spans = InMemorySpanExporter()
        tracing = TracerProvider()
        tracing.add_span_processor(SimpleSpanProcessor(self.spans))
        self.cache = MemoryCache()
        self.metrics = Metrics("tools")
        http = HttpCallExecutor(self.outbound, FakeSecrets())
        self.calls = ToolCalls(
            FakeRegistries(Registry(WorkflowConfig.model_validate(CONFIG), overrides, functions)),
            http,
            ResultCache(self.cache.values),
            WriteGate(self.cache.leases),
            tracing.get_tracer("test"),
            ToolMetrics(self.metrics),
            McpServers(http, check_seconds=300),
            OpenApiOrigins(self.outbound, check_seconds=300),
        )

    async def call(
        self, tool: str, tenant: str = "acme", user: str = "u1", dry_run: bool = False, **arguments: Any
    ) -> ToolCallReply:
        context = CallContext(
            tenant=tenant, subject="key:1", workflow_id="shop", config_hash=HASH, session_id="s", user_id=user,
            turn_id="turn_1", now_ms=1_790_000_000_000,
        )  # fmt: skip
        return await self.calls.call(
            ToolCallRequest(
                context=context, tool=tool, arguments=arguments, idempotency_key="turn_1/2", dry_run=dry_run
            )
        )


@pytest.fixture
async def bench():
    made = Bench()
    yield made
    await made.cache.close()


async def test_a_read_with_hidden_context(bench):
    reply = await bench.call("get_order", order=7)
    assert reply.ok
    assert reply.output["url"] == "https://shop.example/orders/7?customer=u1&limit=5"
    assert reply.took_ms > 0


async def test_a_model_cannot_override_what_comes_from_the_session(bench):
    reply = await bench.call("get_order", order=7, user_id="x")
    assert reply.error.code == "invalid_arguments"
    await bench.call("get_order", order=7, customer="somebody-else")
    assert "customer=u1" in bench.outbound.sent[-1].url


async def test_wrong_arguments_reach_nobody(bench):
    for arguments, pointer in (({"order": "seven"}, "/order"), ({}, "/order"), ({"order": 1, "x": 1}, "/x")):
        reply = await bench.call("get_order", **arguments)
        assert (reply.ok, reply.error.code, reply.error.pointer) == (False, "invalid_arguments", pointer)
    assert bench.outbound.sent == []


async def test_a_pattern_of_the_parameters_takes_linear_time(bench):
    hostile = "a" * 50_000 + "!"
    replies = [await bench.call("spelt", x=hostile) for _ in range(5)]
    assert {reply.error.code for reply in replies} == {"invalid_arguments"}
    assert min(reply.took_ms for reply in replies) < 10
    assert (await bench.call("spelt", x="a" * 50_000)).ok


async def test_reads_are_cached_per_tenant_and_request(bench):
    first = await bench.call("get_order", order=7)
    again = await bench.call("get_order", order=7)
    assert again.output == first.output
    assert len(bench.outbound.sent) == 1
    await bench.call("get_order", tenant="other", order=7)
    await bench.call("get_order", user="u2", order=7)
    await bench.call("get_order", order=8)
    assert len(bench.outbound.sent) == 4


async def test_a_failed_read_is_not_cached(bench):
    bench.outbound.status = 404
    assert (await bench.call("get_order", order=7)).error.code == "not_found"
    bench.outbound.status = 200
    assert (await bench.call("get_order", order=7)).ok


async def test_a_write_carries_the_callers_key(bench):
    await bench.call("pay", amount=2.5)
    assert bench.outbound.sent[0].headers["Idempotency-Key"] == "turn_1/2"
    assert bench.outbound.sent[0].body == b'{"amount":2.5}'


@pytest.mark.parametrize(
    ("tool", "arguments", "finished"), [("pay", {"amount": 1}, 1), ("get_order", {"order": 1042}, 0)]
)
async def test_a_write_in_flight_is_finished_though_its_caller_leaves(bench, tool, arguments, finished):
    bench.outbound.gate = asyncio.Event()
    calling = asyncio.create_task(bench.call(tool, **arguments))
    await bench.outbound.called.wait()
    calling.cancel()
    await asyncio.sleep(0)
    bench.outbound.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert bench.outbound.answered == finished


async def test_a_turn_that_is_stopped_waits_for_a_write_and_makes_no_other(bench):
    gate = WriteGate(bench.cache.leases)
    bench.outbound.gate = asyncio.Event()
    writing = asyncio.create_task(bench.call("pay", amount=1))
    await bench.outbound.called.wait()
    stopping = asyncio.create_task(gate.close("acme", "turn_1", 5))
    await asyncio.sleep(0.02)
    assert not stopping.done()
    bench.outbound.gate.set()
    assert (await writing).ok
    assert await stopping
    refused = await bench.call("pay", amount=2)
    assert (refused.ok, refused.error.code) == (False, "refused")
    assert len(bench.outbound.sent) == 1
    # What only reads, or shows what it would do, needs no gate.
    assert (await bench.call("get_order", order=7)).ok
    assert (await bench.call("pay", dry_run=True, amount=3)).ok


async def test_a_dry_run_sends_nothing_and_masks_secrets(bench):
    reply = await bench.call("get_order", order=7, dry_run=True)
    assert bench.outbound.sent == []
    assert reply.request["method"] == "GET"
    assert reply.request["headers"]["Authorization"] == "Bearer ***"
    assert PLANTED not in reply.model_dump_json()


async def test_the_secret_is_nowhere_in_what_comes_back(bench, caplog):
    replies = [await bench.call("get_order", order=7), await bench.call("explode")]
    assert bench.outbound.sent[0].headers["Authorization"] == f"Bearer {PLANTED}"
    told = "".join(reply.model_dump_json() for reply in replies)
    told += "".join(span.to_json() for span in bench.spans.get_finished_spans())
    assert PLANTED not in told
    assert replies[1].error.code == "upstream_error"


async def test_spans_name_the_tool_and_the_failure(bench):
    await bench.call("get_order", order=7)
    await bench.call("nothing")
    done, failed = bench.spans.get_finished_spans()
    assert (done.name, done.attributes["gen_ai.tool.name"]) == ("tool get_order", "get_order")
    assert (failed.name, failed.attributes["error.type"]) == ("tool nothing", "not_found")


async def test_calls_are_counted_by_effect_and_outcome(bench):
    for order in (7, 7, 8):
        await bench.call("get_order", order=order)
    await bench.call("pay", amount=1)
    await bench.call("pay", amount="much")
    await bench.call("pay", dry_run=True, amount=1)
    await bench.call("nothing")
    found = {
        (sample.labels["effect"], sample.labels["outcome"]): sample.value
        for family in bench.metrics.registry.collect()
        for sample in family.samples
        if sample.name == "signalbox_tool_calls_total"
    }
    assert found == {
        ("read", "ok"): 2, ("read", "cached"): 1, ("write", "ok"): 1, ("write", "invalid_arguments"): 1,
        ("none", "not_found"): 1,
    }  # fmt: skip
    assert (
        bench.metrics.registry.get_sample_value("signalbox_tool_call_seconds_count", {"effect": "read"}) == 3
    )


async def test_python_tools(bench):
    assert (await bench.call("count", text="one two")).output == {"words": 2, "tenant": "acme"}
    assert (await bench.call("count", tenant="other", text="one two")).output["tenant"] == "other"
    assert (await bench.call("note")).output == {"under": "turn_1/2"}
    assert (await bench.call("slow")).error.code == "timeout"
    assert (await bench.call("absent")).error.code == "refused"


async def test_what_cannot_be_carried_out_says_so_and_spares_the_others(bench):
    remote = await bench.call("remote")
    assert (remote.error.code, "not one of an MCP server" in remote.error.detail) == ("bad_response", True)
    assert (await bench.call("broken")).error.code == "refused"
    assert (await bench.call("pay", amount=1)).ok


async def test_operators_replace_variables_and_keep_their_types():
    bench = Bench(base="https://other.example", limit="9", unknown="x")
    reply = await bench.call("get_order", order=7)
    assert reply.output["url"] == "https://other.example/orders/7?customer=u1&limit=9"
    await bench.cache.close()
