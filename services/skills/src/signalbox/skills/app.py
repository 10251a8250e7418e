"""The Skills service."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI

from signalbox.common.clients import DefaultRoles, GatewayClient, ToolsClient
from signalbox.common.functions import SKILLS_GROUP, installed_functions
from signalbox.common.http_calls import Circuits, HttpCallExecutor
from signalbox.common.platform import Platform
from signalbox.common.snapshots import ConfigFollower
from signalbox.common.telemetry.metrics import Metrics
from signalbox.common.tool_calls import RemoteTools
from signalbox.common.validation import load_snapshot
from signalbox.common.web import ServiceParts, create_service_app
from signalbox.common.write_gate import WriteGate
from signalbox.contracts.admin import SnapshotDocument
from signalbox.skills.book import SkillBook
from signalbox.skills.direct_run import DirectRun
from signalbox.skills.endpoints import router
from signalbox.skills.keeping import KeptRuns
from signalbox.skills.metrics import SkillMetrics
from signalbox.skills.model import GatewayModel
from signalbox.skills.repository import SqlRuns
from signalbox.skills.service import Callees, SkillRuns
from signalbox.skills.settings import SkillsSettings


def create_app(settings: SkillsSettings | None = None, platform: Platform | None = None) -> FastAPI:
    """The service's app; ``platform`` is given where several services share a process."""
    settings = settings or SkillsSettings()
    own, platform = platform is None, platform or Platform.from_settings(settings)
    tools = platform.client(ToolsClient, caller="skills")
    gateway = platform.client(GatewayClient, caller="skills")
    roles = DefaultRoles(gateway, settings.roles_cache_seconds)
    authenticator = platform.authenticator("skills")
    database = platform.database("skills")
    metrics = Metrics("skills")
    counted = SkillMetrics(metrics)
    functions = installed_functions(SKILLS_GROUP)

    def compile_snapshot(document: SnapshotDocument) -> SkillBook:
        return SkillBook(load_snapshot(document.document.encode()), settings.variables, functions)

    follower = ConfigFollower(
        "skills", settings, platform, authenticator, compile_snapshot, settings.snapshot_cache_bytes
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
            name="skills",
            title="Signalbox Skills",
            settings=settings,
            tracing=platform.tracing,
            authenticator=authenticator,
            metrics=metrics,
            routers=[router],
            lifespan=lifespan,
            ready_checks={"config": follower.feed.check, "database": database.ping},
        )
    )
    runs = SqlRuns(database)
    app.state.kept_runs = KeptRuns(runs)
    app.state.skill_runs = SkillRuns(
        follower.snapshots,
        runs,
        Callees(
            lambda principal: RemoteTools(tools, principal),
            lambda principal: GatewayModel(gateway, roles, principal),
            HttpCallExecutor(platform.outbound, platform.secrets, circuits=Circuits(opened=counted.opened)),
            WriteGate(platform.cache.leases),
        ),
        platform.tracing.tracer("skills"),
        counted,
        result_chars=settings.tool_result_chars,
        context_tokens=settings.run_context_tokens,
        transcript_chars=settings.run_transcript_chars,
    )
    app.add_way("POST", "/internal/v1/skills/run", DirectRun(app.state.skill_runs, authenticator))
    return app
