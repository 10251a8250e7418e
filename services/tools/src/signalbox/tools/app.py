"""The Tools service."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI

from signalbox.common.functions import TOOLS_GROUP, installed_functions
from signalbox.common.http_calls import Circuits, HttpCallExecutor
from signalbox.common.platform import Platform
from signalbox.common.snapshots import ConfigFollower
from signalbox.common.telemetry.metrics import Metrics
from signalbox.common.validation import load_snapshot
from signalbox.common.web import ServiceParts, create_service_app
from signalbox.common.write_gate import WriteGate
from signalbox.contracts.admin import SnapshotDocument
from signalbox.tools.endpoints import router
from signalbox.tools.metrics import ToolMetrics
from signalbox.tools.ports import Registries
from signalbox.tools.registry import Registry
from signalbox.tools.result_cache import ResultCache
from signalbox.tools.service import ToolCalls
from signalbox.tools.settings import ToolsSettings


def wire(platform: Platform, registries: Registries, metrics: ToolMetrics) -> ToolCalls:
    """What calls tools, over the process's transport, secrets and cache."""
    return ToolCalls(
        registries,
        HttpCallExecutor(platform.outbound, platform.secrets, circuits=Circuits(opened=metrics.opened)),
        ResultCache(platform.cache.values),
        WriteGate(platform.cache.leases),
        platform.tracing.tracer("tools"),
        metrics,
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
            yield

    app = create_service_app(
        ServiceParts(
            name="tools",
            title="Signalbox Tools",
            settings=settings,
            tracing=platform.tracing,
            authenticator=authenticator,
            routers=[router],
            lifespan=lifespan,
            ready_checks={"config": follower.feed.check},
            metrics=metrics,
        )
    )
    app.state.tool_calls = wire(platform, follower.snapshots, ToolMetrics(metrics))
    return app
