"""The Tools service."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI, Response

from signalbox.common.errors import SignalboxError
from signalbox.common.functions import TOOLS_GROUP, installed_functions
from signalbox.common.http_calls import Circuits, HttpCallExecutor
from signalbox.common.platform import Platform
from signalbox.common.snapshots import ConfigFollower
from signalbox.common.telemetry.metrics import Metrics
from signalbox.common.validation import load_snapshot
from signalbox.common.web import ServiceParts, create_service_app
from signalbox.common.web.problems import problem_response
from signalbox.common.write_gate import WriteGate
from signalbox.contracts.admin import SnapshotDocument
from signalbox.tools.direct_call import DirectCall
from signalbox.tools.endpoints import router
from signalbox.tools.importing.origins import OpenApiOrigins
from signalbox.tools.mcp.endpoints import PREFIX as MCP
from signalbox.tools.mcp.endpoints import router as mcp_router
from signalbox.tools.mcp.endpoints import rpc_error_response
from signalbox.tools.mcp.servers import McpServers
from signalbox.tools.mcp.serving import McpService
from signalbox.tools.metrics import ToolMetrics
from signalbox.tools.ports import Registries
from signalbox.tools.registry import Registry
from signalbox.tools.result_cache import ResultCache
from signalbox.tools.service import ToolCalls
from signalbox.tools.settings import ToolsSettings


def wire(
    platform: Platform, registries: Registries, metrics: ToolMetrics, check_seconds: float = 300.0
) -> ToolCalls:
    """What calls tools, over the process's transport, secrets and cache.

    ``check_seconds`` is how often imported tools are compared with their source.
    """
    http = HttpCallExecutor(platform.outbound, platform.secrets, circuits=Circuits(opened=metrics.opened))
    return ToolCalls(
        registries,
        http,
        ResultCache(platform.cache.values),
        WriteGate(platform.cache.leases),
        platform.tracing.tracer("tools"),
        metrics,
        McpServers(http, check_seconds=check_seconds),
        OpenApiOrigins(platform.outbound, check_seconds=check_seconds),
    )


def create_app(settings: ToolsSettings | None = None, platform: Platform | None = None) -> FastAPI:
    """The service's app; ``platform`` is given where several services share a process."""
    settings = settings or ToolsSettings()
    own = platform is None
    platform = platform or Platform.from_settings(settings)
    authenticator = platform.authenticator("tools")
    functions = installed_functions(TOOLS_GROUP)

    def compile_snapshot(document: SnapshotDocument) -> Registry:
        return Registry(load_snapshot(document.document.encode()), settings.variables, functions)

    follower = ConfigFollower(
        "tools", settings, platform, authenticator, compile_snapshot, settings.snapshot_cache_bytes
    )

    metrics = Metrics("tools")

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if own:
                await stack.enter_async_context(platform)
            await stack.enter_async_context(follower)
            stack.push_async_callback(calls.aclose)
            yield

    app = create_service_app(
        ServiceParts(
            name="tools",
            title="Signalbox Tools",
            settings=settings,
            tracing=platform.tracing,
            authenticator=authenticator,
            routers=[router, mcp_router],
            lifespan=lifespan,
            ready_checks={"config": follower.feed.check},
            metrics=metrics,
            error_response=_error_response,
        )
    )
    calls = wire(platform, follower.snapshots, ToolMetrics(metrics), settings.import_check_seconds)
    app.state.tool_calls = calls
    app.add_way("POST", "/internal/v1/tools/call", DirectCall(calls, authenticator))
    app.state.config_feed = follower.feed
    app.state.mcp_service = McpService(follower.snapshots, calls)
    return app


def _error_response(error: SignalboxError, path: str | None) -> Response:
    """The answer to a request that failed outside of a route, as the clients of its path expect it."""
    if path is not None and path.startswith(MCP):
        return rpc_error_response(error)
    return problem_response(error, path)
