"""The Tools service's calls over real sockets, and servers beside it in the same event loop."""

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import Any, Self

import uvicorn
from opentelemetry.trace import NoOpTracer
from support.async_waiting import until

from signalbox.common.cache import MemoryCache
from signalbox.common.http_calls import HttpCallExecutor
from signalbox.common.secrets import Secret
from signalbox.common.telemetry.metrics import Metrics
from signalbox.common.transport import AllowList, GuardedOutbound
from signalbox.common.validation import validate
from signalbox.common.write_gate import WriteGate
from signalbox.contracts.context import CallContext
from signalbox.contracts.work import ToolCallReply, ToolCallRequest
from signalbox.tools.importing.origins import OpenApiOrigins
from signalbox.tools.mcp.servers import McpServers
from signalbox.tools.metrics import ToolMetrics
from signalbox.tools.registry import Registry
from signalbox.tools.result_cache import ResultCache
from signalbox.tools.service import ToolCalls

TOKEN = "a-secret-of-the-test"


@asynccontextmanager
async def serving(app: Any):
    """An ASGI app on a free port of loopback: its base URL."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
        running = asyncio.create_task(server.serve([listener]))
        await until(lambda: server.started)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await running


class _Secrets:
    async def get(self, tenant: str, name: str) -> Secret:
        del tenant, name
        return Secret(TOKEN)


class _One:
    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    async def get(self, tenant: str, config_hash: str) -> Registry:
        del tenant, config_hash
        return self.registry


class ToolBench:
    """Calls the tools of a document that has passed validation; time is the bench's own."""

    def __init__(self, tools: list[dict[str, Any]], variables: dict[str, Any] | None = None) -> None:
        document = {"workflow_id": "w", "name": "W", "variables": variables or {}, "tools": tools}
        checked = validate(document)
        assert checked.config is not None, checked.errors[:5]
        self.now = 0.0
        self.outbound = GuardedOutbound(AllowList.parse(["127.0.0.1"]))
        self._cache = MemoryCache()
        http = HttpCallExecutor(self.outbound, _Secrets())
        self.origins = OpenApiOrigins(self.outbound, check_seconds=300, clock=lambda: self.now)
        self.calls = ToolCalls(
            _One(Registry(checked.config, {}, {})),
            http,
            ResultCache(self._cache.values),
            WriteGate(self._cache.leases),
            NoOpTracer(),
            ToolMetrics(Metrics("tools")),
            McpServers(http, check_seconds=300, clock=lambda: self.now),
            self.origins,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.origins.aclose()
        await self.outbound.aclose()
        await self._cache.close()

    async def call(self, tool: str, dry_run: bool = False, **arguments: Any) -> ToolCallReply:
        """One call, as Flows or Skills make it."""
        context = CallContext(
            tenant="acme", subject="key:1", workflow_id="w", config_hash="a" * 64, session_id="s", user_id="u1",
            turn_id="turn_1", now_ms=1_790_000_000_000,
        )  # fmt: skip
        request = ToolCallRequest(
            context=context, tool=tool, arguments=arguments, idempotency_key="turn_1/2", dry_run=dry_run
        )
        return await self.calls.call(request)
