"""One tool call: checked, rendered, carried out, and told in data whatever happens."""

import asyncio
import hashlib
import time
from collections.abc import Coroutine, Mapping
from typing import Any

import orjson
from opentelemetry import trace
from opentelemetry.trace import Status, StatusCode

from signalbox.common.functions import FunctionCall
from signalbox.common.http_calls import CallFailed, CallResult, HttpCall, RenderedRequest
from signalbox.common.write_gate import TurnStopped, WriteGate
from signalbox.contracts.work import ToolCallReply, ToolCallRequest
from signalbox.tools.importing.origins import OpenApiOrigins
from signalbox.tools.mcp.calls import McpCall
from signalbox.tools.mcp.servers import McpServers
from signalbox.tools.metrics import ToolMetrics
from signalbox.tools.ports import HttpCalls, Registries
from signalbox.tools.registry import CompiledTool
from signalbox.tools.result_cache import ResultCache


class ToolCalls:
    """Calls the tools of snapshots."""

    def __init__(
        self,
        registries: Registries,
        http: HttpCalls,
        results: ResultCache,
        gate: WriteGate,
        tracer: trace.Tracer,
        metrics: ToolMetrics,
        mcp: McpServers,
        origins: OpenApiOrigins,
    ) -> None:
        self._registries = registries
        self._http = http
        self._results = results
        self._gate = gate
        self._tracer = tracer
        self._metrics = metrics
        self._mcp = mcp
        self._origins = origins

    async def call(self, request: ToolCallRequest) -> ToolCallReply:
        """Call one tool. Its failure is part of the reply.

        Raises:
            UnknownSnapshot: the tenant has no snapshot of this hash.
        """
        registry = await self._registries.get(request.context.tenant, request.context.config_hash)
        started = time.perf_counter()
        attributes = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": request.tool}
        with self._tracer.start_as_current_span(f"tool {request.tool}", attributes=attributes) as span:
            try:
                tool = registry.get(request.tool)
                values = registry.values(tool, request.arguments, request.context)
                if tool.is_write and not request.dry_run:
                    reply = await _to_its_end(self._write(tool, values, request))
                else:
                    reply = await self._carry_out(tool, values, request)
            except CallFailed as failure:
                error = failure.error
                reply = ToolCallReply(ok=False, error=error, took_ms=0.0, attempts=failure.attempts)
                span.set_status(Status(StatusCode.ERROR, error.code))
                span.set_attribute("error.type", error.code)
            span.set_attribute("signalbox.tool.attempts", reply.attempts)
        seconds = time.perf_counter() - started
        reply.took_ms = seconds * 1000
        if not request.dry_run:
            self._metrics.called(registry.effect(request.tool), _outcome(reply), seconds)
        return reply

    async def aclose(self) -> None:
        """Stop what goes on in the background."""
        await self._origins.aclose()

    async def _write(
        self, tool: CompiledTool, values: Mapping[str, Any], request: ToolCallRequest
    ) -> ToolCallReply:
        try:
            async with self._gate.write(request.context.tenant, request.context.turn_id):
                return await self._carry_out(tool, values, request)
        except TurnStopped as stopped:
            raise CallFailed("refused", stopped.detail) from stopped

    async def _carry_out(
        self, tool: CompiledTool, values: Mapping[str, Any], request: ToolCallRequest
    ) -> ToolCallReply:
        source = tool.source
        if isinstance(source, str):
            raise CallFailed("refused", source)
        rendered = None if isinstance(source, FunctionCall) else source.render(values)
        if request.dry_run:
            return ToolCallReply(ok=True, took_ms=0.0, attempts=0, request=_preview(source, rendered, values))
        cached_for = 0 if tool.is_write else tool.tool.cache_seconds
        fingerprint = _fingerprint(rendered, values) if cached_for else ""
        if cached_for:
            found, output = await self._results.find(request.context, request.tool, fingerprint)
            if found:
                return ToolCallReply(ok=True, output=output, took_ms=0.0, attempts=0)
        if rendered is None:
            assert isinstance(source, FunctionCall)  # noqa: S101 - anything else was rendered above
            given = values["arguments"]
            output, attempts = await source.execute(given, request.context, request.idempotency_key), 1
        else:
            assert not isinstance(source, FunctionCall)  # noqa: S101 - see above
            result = await self._send(source, rendered, tool, request)
            output, attempts = result.output, result.attempts
        if cached_for:
            await self._results.keep(request.context, request.tool, fingerprint, output, cached_for)
        return ToolCallReply(ok=True, output=output, took_ms=0.0, attempts=attempts)

    async def _send(
        self,
        source: HttpCall | McpCall,
        rendered: RenderedRequest,
        tool: CompiledTool,
        request: ToolCallRequest,
    ) -> CallResult:
        tenant, key = request.context.tenant, request.idempotency_key
        if isinstance(source, McpCall):
            return await self._mcp.call(source, rendered, tenant=tenant, idempotency_key=key)
        if tool.tool.openapi is not None:
            await self._origins.check(tool.tool.openapi)
        return await self._http.execute(source, rendered, tenant=tenant, idempotency_key=key)


async def _to_its_end(write: Coroutine[Any, Any, ToolCallReply]) -> ToolCallReply:
    """Await a write; when the caller leaves meanwhile, its request is finished all the same, not cut off."""
    task = asyncio.create_task(write)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


def _outcome(reply: ToolCallReply) -> str:
    if reply.error is not None:
        return reply.error.code
    return "ok" if reply.attempts else "cached"


def _preview(
    source: HttpCall | FunctionCall | McpCall, rendered: RenderedRequest | None, values: Mapping[str, Any]
) -> dict[str, Any]:
    if not isinstance(source, FunctionCall) and rendered is not None:
        return source.preview(rendered)
    return {"method": "CALL", "url": "python", "headers": {}, "body": values["arguments"]}


def _fingerprint(rendered: RenderedRequest | None, values: Mapping[str, Any]) -> str:
    if rendered is not None:
        return rendered.fingerprint()
    content = orjson.dumps([values["arguments"], values["context"]], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(content).hexdigest()
