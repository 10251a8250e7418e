"""Wiring of the Workflow service."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Literal, NamedTuple

from fastapi import FastAPI

from signalbox.common.clients import FlowsClient, GatewayClient, SkillsClient, ToolsClient
from signalbox.common.platform import Platform
from signalbox.common.rules import ServingEngine
from signalbox.common.snapshots import ConfigFollower
from signalbox.common.telemetry.metrics import Metrics
from signalbox.common.web import ServiceParts, create_service_app
from signalbox.workflow import endpoints
from signalbox.workflow.actions import Actions
from signalbox.workflow.background.webhooks import WebhookSender
from signalbox.workflow.background_repository import SqlOutboxStore
from signalbox.workflow.build import Builder
from signalbox.workflow.builders import Builders
from signalbox.workflow.decisions import Decider
from signalbox.workflow.direct_query import DirectQuery
from signalbox.workflow.example_build import ExampleBuilder
from signalbox.workflow.execution import Executor
from signalbox.workflow.matching import Matcher
from signalbox.workflow.matching.example_matcher import LateEncoder
from signalbox.workflow.matching.llm_matcher import LlmMatcher
from signalbox.workflow.matching.plan_cache import PlanBounds, PlanCache, PlanMetrics
from signalbox.workflow.queries import QueryService
from signalbox.workflow.repository import SqlIdempotencyStore, SqlSessionStore
from signalbox.workflow.roles import RoleModels
from signalbox.workflow.running import RunningTurns
from signalbox.workflow.sessions import SessionKeeper
from signalbox.workflow.settings import WorkflowSettings
from signalbox.workflow.snapshot import SnapshotCompiler, WorkflowSnapshot
from signalbox.workflow.timers.firing import TimerFiring
from signalbox.workflow.timers.repository import SqlTimerStore
from signalbox.workflow.turn import TurnRunner
from signalbox.workflow.views import SessionViews

_NAME: Literal["workflow"] = "workflow"
_IDLE_S = 2.0
"""After the start, when classifiers are loaded that no message has asked for."""
_LAST_WORDS_S = 0.5
"""Of ``drain_seconds``, what is kept for telling clients that their turns were cancelled."""


class Services(NamedTuple):
    """What the endpoints call, and what runs beside them."""

    queries: QueryService
    views: SessionViews
    keeper: SessionKeeper
    running: RunningTurns
    webhooks: WebhookSender
    timers: TimerFiring


def wire(
    settings: WorkflowSettings,
    platform: Platform,
    follower: ConfigFollower[WorkflowSnapshot],
    metrics: Metrics,
) -> Services:
    """The service over what its process gives it."""
    owner = f"{_NAME}-{secrets.token_hex(4)}"
    database = platform.database(_NAME)
    gateway = platform.client(GatewayClient, _NAME)
    store = SqlSessionStore(database)
    keeper = SessionKeeper(store, platform.cache, settings, owner)
    running = RunningTurns()
    tracer = platform.tracing.tracer(_NAME)
    actions = Actions()
    executor = Executor(
        platform.client(FlowsClient, _NAME),
        platform.client(SkillsClient, _NAME),
        platform.client(ToolsClient, _NAME),
        actions,
    )
    timers = TimerFiring(
        SqlTimerStore(database),
        store,
        keeper,
        follower.feed,
        follower.snapshots,
        actions,
        platform.cache,
        tracer,
        owner,
    )
    runner = TurnRunner(
        store,
        keeper,
        follower.feed,
        follower.snapshots,
        Decider(_matcher(settings, platform, gateway, metrics)),
        executor,
        settings,
        tracer,
        owner,
    )
    queries = QueryService(runner, running, SqlIdempotencyStore(database), platform.cache, settings)
    return Services(
        queries=queries,
        views=SessionViews(store, keeper, queries, running, follower.feed),
        keeper=keeper,
        running=running,
        webhooks=WebhookSender(SqlOutboxStore(database), platform.outbound, platform.secrets),
        timers=timers,
    )


def _matcher(
    settings: WorkflowSettings, platform: Platform, gateway: GatewayClient, metrics: Metrics
) -> Matcher:
    """What decides what messages mean."""
    bounds = PlanBounds(settings.plan_cache_slots, settings.plan_cache_ms)
    plans = PlanCache(platform.cache.values, bounds, PlanMetrics(metrics))
    return Matcher(LlmMatcher(gateway, plans), RoleModels(gateway))


def _builders(settings: WorkflowSettings) -> Builders:
    """What a snapshot is built with."""
    rules = Builder(settings.rules_max_bytes, settings.rules_build_timeout_s)
    return Builders([rules, ExampleBuilder(settings.examples_timeout_s, settings.encoder_file)])


def create_app(settings: WorkflowSettings | None = None, platform: Platform | None = None) -> FastAPI:
    """The Workflow service as an ASGI app; with a ``platform`` as one of several services in a process."""
    settings = settings or WorkflowSettings()
    own = platform is None
    platform = platform or Platform.from_settings(settings)
    engine = ServingEngine(settings.rules_max_bytes)
    authenticator = platform.authenticator(_NAME)
    encoder = None if settings.encoder_file is None else LateEncoder(settings.encoder_file)
    compiler = SnapshotCompiler(engine, settings.variables, encoder)
    follower = ConfigFollower(
        _NAME, settings, platform, authenticator, compiler, settings.snapshot_cache_bytes
    )
    metrics = Metrics(_NAME)
    services = wire(settings, platform, follower, metrics)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if own:
                await stack.enter_async_context(platform)
            await stack.enter_async_context(follower)
            services.webhooks.start()
            stack.push_async_callback(services.webhooks.stop)
            services.timers.start()
            stack.push_async_callback(services.timers.stop)
            loop = asyncio.get_running_loop()
            late = loop.call_later(_IDLE_S, loop.run_in_executor, None, compiler.load_late)
            stack.callback(late.cancel)
            stack.push_async_callback(services.keeper.drain)
            stack.push_async_callback(services.running.drain, settings.drain_seconds)
            yield

    app = create_service_app(
        ServiceParts(
            name=_NAME,
            title="Signalbox Workflow",
            settings=settings,
            tracing=platform.tracing,
            metrics=metrics,
            authenticator=authenticator,
            routers=[endpoints.public, endpoints.internal],
            lifespan=lifespan,
            ready_checks={
                "database": platform.database(_NAME).ping,
                "cache": platform.cache.ping,
                "config": follower.feed.check,
            },
        )
    )
    app.add_way("POST", "/api/v1/query", DirectQuery(services.queries, authenticator))
    app.state.settings = settings
    # What is late is cancelled while its stream may still say so.
    app.state.drain = partial(services.running.drain, max(0.0, settings.drain_seconds - _LAST_WORDS_S))
    app.state.queries = services.queries
    app.state.views = services.views
    app.state.builder = _builders(settings)
    return app
