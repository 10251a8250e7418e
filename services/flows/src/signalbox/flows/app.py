"""The Flows service."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI

from signalbox.common.clients import ToolsClient
from signalbox.common.platform import Platform
from signalbox.common.snapshots import ConfigFollower
from signalbox.common.tool_calls import RemoteTools
from signalbox.common.validation import load_snapshot
from signalbox.common.web import ServiceParts, create_service_app
from signalbox.contracts.admin import SnapshotDocument
from signalbox.flows.book import FlowBook
from signalbox.flows.endpoints import router
from signalbox.flows.service import FlowRuns
from signalbox.flows.settings import FlowsSettings


def create_app(settings: FlowsSettings | None = None, platform: Platform | None = None) -> FastAPI:
    """The service's app; ``platform`` is given where several services share a process."""
    settings = settings or FlowsSettings()
    own = platform is None
    platform = platform or Platform.from_settings(settings)
    tools = platform.client(ToolsClient, caller="flows")
    authenticator = platform.authenticator("flows")

    def compile_snapshot(document: SnapshotDocument) -> FlowBook:
        return FlowBook(load_snapshot(document.document.encode()), settings.variables)

    follower = ConfigFollower(
        "flows", settings, platform, authenticator, compile_snapshot, settings.snapshot_cache_bytes
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if own:
                await stack.enter_async_context(platform)
            await stack.enter_async_context(follower)
            yield

    app = create_service_app(
        ServiceParts(
            name="flows",
            title="Signalbox Flows",
            settings=settings,
            tracing=platform.tracing,
            authenticator=authenticator,
            routers=[router],
            lifespan=lifespan,
            ready_checks={"config": follower.feed.check},
        )
    )
    app.state.flow_runs = FlowRuns(
        follower.snapshots,
        lambda principal: RemoteTools(tools, principal),
        platform.tracing.tracer("flows"),
        settings.flow_steps_per_call,
    )
    return app
