"""Wiring of the Workflow service."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Literal, NamedTuple

from fastapi import APIRouter, FastAPI

from signalbox.common.auth import KeyRing
from signalbox.common.clients import FlowsClient, GatewayClient, SkillsClient, ToolsClient
from signalbox.common.kept_files import KeptFiles
from signalbox.common.platform import Platform
from signalbox.common.rules import ServingEngine
from signalbox.common.snapshots import ConfigFollower
from signalbox.common.telemetry.metrics import Metrics
from signalbox.common.web import ServiceParts, create_service_app
from signalbox.common.web.sockets import SocketRoute
from signalbox.common.write_gate import WriteGate
from signalbox.contracts.identity import Scope
from signalbox.workflow import endpoints
from signalbox.workflow.actions import Actions
from signalbox.workflow.background import endpoints as background_endpoints
from signalbox.workflow.background.batches import BatchKeeper
from signalbox.workflow.background.celery_queue import CeleryQueue
from signalbox.workflow.background.dead_letters import WebhookViews
from signalbox.workflow.background.in_process import InProcessQueue
from signalbox.workflow.background.metrics import TaskMetrics
from signalbox.workflow.background.outbox_repository import SqlOutboxStore
from signalbox.workflow.background.runner import TaskRunner
from signalbox.workflow.background.schedule_repository import SqlScheduleStore
from signalbox.workflow.background.schedules import Scheduler, ScheduleService
from signalbox.workflow.background.submitting import Submitting
from signalbox.workflow.background.sweeper import TaskSweeper
from signalbox.workflow.background.task_repository import SqlBatchStore, SqlTaskStore
from signalbox.workflow.background.tasks import TaskService
from signalbox.workflow.background.webhooks import WebhookSender
from signalbox.workflow.build import Builder
from signalbox.workflow.builders import Builders
from signalbox.workflow.caps import Caps, SqlSpending
from signalbox.workflow.conversation import Conversation
from signalbox.workflow.decisions import Decider
from signalbox.workflow.direct_query import DirectQuery
from signalbox.workflow.example_build import ExampleBuilder
from signalbox.workflow.execution import Executor
from signalbox.workflow.flow_model import FlowModel
from signalbox.workflow.following import SharedEvents
from signalbox.workflow.idempotency import Idempotency
from signalbox.workflow.iterations import Iterations
from signalbox.workflow.keeping import endpoints as keeping_endpoints
from signalbox.workflow.keeping.erasing import Eraser
from signalbox.workflow.keeping.exporting import Exporter
from signalbox.workflow.keeping.listing import SessionLists
from signalbox.workflow.keeping.repository import SqlKeepingStore
from signalbox.workflow.keeping.retention import Retention
from signalbox.workflow.listening import FlowListener
from signalbox.workflow.matching import Matcher
from signalbox.workflow.matching.example_matcher import LateEncoder
from signalbox.workflow.matching.gateway_vectors import GatewayVectors
from signalbox.workflow.matching.llm_matcher import LlmMatcher
from signalbox.workflow.matching.message_vectors import MessageVectors
from signalbox.workflow.matching.plan_cache import PlanBounds, PlanCache, PlanMetrics
from signalbox.workflow.pauses import endpoints as pauses_endpoints
from signalbox.workflow.pauses.repository import SqlPauseStore
from signalbox.workflow.pauses.service import PausedRuns
from signalbox.workflow.ports import IdempotencyStore
from signalbox.workflow.queries import QueryService
from signalbox.workflow.query_socket import QuerySockets
from signalbox.workflow.recall.recall import Recall
from signalbox.workflow.recall.repository import SqlSummaryStore
from signalbox.workflow.recall.summariser import Summariser
from signalbox.workflow.repository import SqlIdempotencyStore, SqlSessionStore
from signalbox.workflow.roles import RoleModels
from signalbox.workflow.running import RunningTurns
from signalbox.workflow.session_log import SessionLog
from signalbox.workflow.sessions import SessionKeeper
from signalbox.workflow.settings import WorkflowSettings
from signalbox.workflow.snapshot import SnapshotCompiler, WorkflowSnapshot
from signalbox.workflow.timers.firing import TimerFiring
from signalbox.workflow.timers.repository import SqlTimerStore
from signalbox.workflow.turn import TurnRunner
from signalbox.workflow.views import SessionViews
from signalbox.workflow.weighing import weigh

_NAME: Literal["workflow"] = "workflow"
_RULES_KEPT_BYTES = 64 * 1024 * 1024
"""Disk for databases of rules, which the next snapshot with the same rules uses again: one of 240 rules takes 40 KB."""

_IDLE_S = 2.0
"""After the start, when classifiers are loaded that no message has asked for."""
_LAST_WORDS_S = 0.5
"""Of ``drain_seconds``, what is kept for telling clients that their turns were cancelled."""


class Services(NamedTuple):
    """What the endpoints call, and what runs beside them."""

    queries: QueryService
    events: SharedEvents
    idempotency: Idempotency
    views: SessionViews
    keeper: SessionKeeper
    running: RunningTurns
    timers: TimerFiring
    recall: Recall
    keeping: "Keeping"
    background: "Background"


class Keeping(NamedTuple):
    """Lists, exports and erasure."""

    eraser: Eraser
    retention: Retention
    exporter: Exporter
    lists: SessionLists


class Background(NamedTuple):
    """Work that no client waits for: what the endpoints call, and what runs beside them."""

    tasks: TaskService
    schedules: ScheduleService
    webhooks: WebhookViews
    runner: TaskRunner
    queue: InProcessQueue | CeleryQueue
    sweeper: TaskSweeper
    scheduler: Scheduler
    sender: WebhookSender
    paused_runs: PausedRuns


def wire(
    settings: WorkflowSettings,
    platform: Platform,
    follower: ConfigFollower[WorkflowSnapshot],
    metrics: Metrics,
    keys: KeyRing,
) -> Services:
    """The service over what its process gives it."""
    owner = f"{_NAME}-{secrets.token_hex(4)}"
    database = platform.database(_NAME)
    gateway = platform.client(GatewayClient, _NAME)
    store = SqlSessionStore(database)
    keeper = SessionKeeper(store, platform.cache, settings, owner)
    running = RunningTurns(WriteGate(platform.cache.leases))
    tracer = platform.tracing.tracer(_NAME)
    actions = Actions()
    skills = platform.client(SkillsClient, _NAME)
    keeping = _keeping(settings, platform, keeper, skills, gateway)
    flows, tools = platform.client(FlowsClient, _NAME), platform.client(ToolsClient, _NAME)
    executor = Executor(flows, skills, tools, actions)
    shared = (store, keeper, follower.feed, follower.snapshots)
    timers = TimerFiring(
        SqlTimerStore(database),
        *shared,
        actions,
        platform.cache,
        tracer,
        owner,
    )
    roles = RoleModels(gateway)
    recall = Recall(SqlSummaryStore(database), Summariser(gateway, roles))
    matcher = _matcher(settings, platform, gateway, roles, metrics)
    listener = FlowListener(flows, matcher, FlowModel(gateway, roles))
    runner = TurnRunner(
        *shared,
        Caps(platform.cache, SqlSpending(database)),
        Decider(matcher, listener),
        Conversation(executor, Iterations(executor, gateway)),
        settings,
        tracer,
        owner,
        recall=recall,
        tell=SessionLog(platform.cache).tell,
    )
    events = SharedEvents(platform.cache, store, settings)
    idempotency = Idempotency(SqlIdempotencyStore(database), settings)
    return Services(
        queries=QueryService(runner, running, idempotency, events, settings),
        events=events,
        idempotency=idempotency,
        views=SessionViews(store, keeper, events, running, follower.feed, keeping.eraser),
        keeper=keeper,
        running=running,
        timers=timers,
        recall=recall,
        keeping=keeping,
        background=_background(settings, platform, idempotency.store, runner, running, keys, owner, metrics),
    )


def _keeping(
    settings: WorkflowSettings,
    platform: Platform,
    keeper: SessionKeeper,
    skills: SkillsClient,
    gateway: GatewayClient,
) -> Keeping:
    """What lists, exports and forgets, here and in the services that keep something of sessions."""
    database = platform.database(_NAME)
    store, kept = SqlSessionStore(database), SqlKeepingStore(database)
    # What was streaming when its session was deleted has ended then, and so has what it asked for.
    late_ms = settings.stream_timeout_ms + 60_000
    eraser = Eraser(store, kept, kept, keeper, platform.cache, (skills, gateway), late_ms)
    exporter = Exporter(kept, {"skill_runs": skills, "model_calls": gateway})
    retention = Retention(kept, eraser, platform.cache, f"{_NAME}-{secrets.token_hex(4)}")
    return Keeping(eraser, retention, exporter, SessionLists(kept))


def _matcher(
    settings: WorkflowSettings,
    platform: Platform,
    gateway: GatewayClient,
    roles: RoleModels,
    metrics: Metrics,
) -> Matcher:
    """What decides what messages mean."""
    bounds = PlanBounds(settings.plan_cache_slots, settings.plan_cache_ms)
    plans = PlanCache(platform.cache.values, bounds, PlanMetrics(metrics))
    return Matcher(LlmMatcher(gateway, plans), roles, MessageVectors(GatewayVectors(gateway)))


def _background(
    settings: WorkflowSettings,
    platform: Platform,
    idempotency: IdempotencyStore,
    turns: TurnRunner,
    running: RunningTurns,
    keys: KeyRing,
    owner: str,
    metrics: Metrics,
) -> Background:
    """What is done without a client that waits."""
    database = platform.database(_NAME)
    tasks, batches, schedules = SqlTaskStore(database), SqlBatchStore(database), SqlScheduleStore(database)
    outbox = SqlOutboxStore(database)
    sender = WebhookSender(outbox, platform.outbound, platform.secrets, settings.webhook_timeout_ms)
    by_celery = settings.task_queue == "celery"
    queue = CeleryQueue(settings) if by_celery else InProcessQueue(settings.task_concurrency)
    keeper = BatchKeeper(batches, queue, settings)
    pauses = SqlPauseStore(database)
    task_metrics = TaskMetrics(metrics)
    runner = TaskRunner(tasks, keeper, queue, turns, running, keys, settings, owner, task_metrics, pauses)
    submitting = Submitting(idempotency, platform.secrets)
    return Background(
        tasks=TaskService(tasks, batches, keeper, runner, queue, submitting, settings),
        schedules=ScheduleService(schedules, submitting, settings),
        webhooks=WebhookViews(outbox, sender),
        runner=runner,
        queue=queue,
        sweeper=TaskSweeper(tasks, keeper, queue, settings),
        scheduler=Scheduler(schedules, queue, settings),
        sender=sender,
        paused_runs=PausedRuns(pauses, queue, settings),
    )


@asynccontextmanager
async def _beside(services: Services) -> AsyncIterator[None]:
    """Run what turns need beside them while the block runs."""
    services.keeper.start()
    keeping = services.keeping
    parts = (services.idempotency, services.timers, keeping.eraser, keeping.retention)
    for part in parts:
        part.start()
    yield
    for part in reversed(parts):
        await part.stop()


@asynccontextmanager
async def _working(background: Background, running: RunningTurns, seconds: float) -> AsyncIterator[None]:
    """Work in the background while the block runs; afterwards running turns get so many seconds to end."""
    async with AsyncExitStack() as stack:
        background.sender.start()
        stack.push_async_callback(background.sender.stop)
        if isinstance(background.queue, InProcessQueue):
            background.queue.start(background.runner.look)
        else:
            background.queue.start()
        stack.push_async_callback(background.queue.stop)
        for part in (background.sweeper, background.scheduler, background.paused_runs):
            part.start()
            stack.push_async_callback(part.stop)
        stack.push_async_callback(background.runner.settle)
        stack.push_async_callback(running.drain, seconds)
        stack.callback(background.runner.close)
        yield


def _builders(settings: WorkflowSettings, platform: Platform) -> Builders:
    """What a snapshot is built with."""
    kept = KeptFiles(settings.data / _NAME / "rules", _RULES_KEPT_BYTES)
    rules = Builder(settings.rules_max_bytes, settings.rules_build_timeout_s, kept)
    vectors = GatewayVectors(platform.client(GatewayClient, _NAME))
    examples = ExampleBuilder(settings.examples_timeout_s, vectors, settings.encoder_file)
    return Builders([rules, examples])


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
        _NAME, settings, platform, authenticator, compiler, settings.snapshot_cache_bytes, weigh
    )
    metrics = Metrics(_NAME)
    services = wire(settings, platform, follower, metrics, authenticator.keys)
    background = services.background

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if own:
                await stack.enter_async_context(platform)
            await stack.enter_async_context(follower)
            await stack.enter_async_context(_beside(services))
            loop = asyncio.get_running_loop()
            late = loop.call_later(_IDLE_S, loop.run_in_executor, None, compiler.load_late)
            stack.callback(late.cancel)
            stack.push_async_callback(services.keeper.drain)
            stack.push_async_callback(services.recall.close)
            await stack.enter_async_context(_working(background, services.running, settings.drain_seconds))
            yield

    async def drain() -> None:
        background.runner.close()
        services.events.ending.set()
        # What is late is cancelled while its stream may still say so.
        await services.running.drain(max(0.0, settings.drain_seconds - _LAST_WORDS_S))

    app = create_service_app(
        ServiceParts(
            name=_NAME,
            title="Signalbox Workflow",
            settings=settings,
            tracing=platform.tracing,
            metrics=metrics,
            authenticator=authenticator,
            routers=_routers(),
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
    app.state.drain = drain
    _expose(app, services, settings)
    app.state.builder = _builders(settings, platform)
    return app


def _expose(app: FastAPI, services: Services, settings: WorkflowSettings) -> None:
    """Put what the endpoints call where they find it."""
    sockets = QuerySockets(services.queries, services.events, services.views, settings)
    app.router.routes.append(SocketRoute("/api/v1/query/ws", Scope.QUERY, sockets.serve))
    app.state.queries = services.queries
    app.state.events = services.events
    app.state.views = services.views
    app.state.tasks = services.background.tasks
    app.state.schedules = services.background.schedules
    app.state.webhooks = services.background.webhooks
    app.state.paused_runs = services.background.paused_runs
    app.state.task_runner = services.background.runner
    app.state.session_lists = services.keeping.lists
    app.state.exporter = services.keeping.exporter
    app.state.eraser = services.keeping.eraser


def _routers() -> list[APIRouter]:
    """The routes of the service, in the order in which they are described."""
    return [
        endpoints.public,
        background_endpoints.public,
        pauses_endpoints.router,
        keeping_endpoints.router,
        endpoints.internal,
    ]
