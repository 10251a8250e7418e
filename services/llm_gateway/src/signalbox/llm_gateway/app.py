"""Wiring of the LLM Gateway."""

import asyncio
import logging
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from typing import NamedTuple

from fastapi import FastAPI, Response
from opentelemetry import trace

from signalbox.common.auth import Authenticator
from signalbox.common.cache import Cache
from signalbox.common.clients import AdminClient
from signalbox.common.errors import SignalboxError
from signalbox.common.ids import now_ms
from signalbox.common.platform import Platform
from signalbox.common.snapshots import ConfigFeed
from signalbox.common.storage import Database
from signalbox.common.telemetry import Metrics
from signalbox.common.web import ReadyCheck, ServiceParts, create_service_app, problem_response
from signalbox.llm_gateway.admission import Admission
from signalbox.llm_gateway.admission.corrections import CountedCorrections
from signalbox.llm_gateway.admission.demands import Demands
from signalbox.llm_gateway.admission.limited import LimitedAdmission
from signalbox.llm_gateway.admission.memory import MemoryCounters
from signalbox.llm_gateway.admission.metrics import AdmissionMetrics
from signalbox.llm_gateway.admission.processes import DatabaseProcesses
from signalbox.llm_gateway.admission.seeding import Seeding
from signalbox.llm_gateway.admission.spending import LedgerSpending
from signalbox.llm_gateway.attempts import Attempts
from signalbox.llm_gateway.caching.answering import CachedAnswering
from signalbox.llm_gateway.caching.idempotency import (
    IdempotencyKeeper,
    IdempotencyRepository,
    IdempotentCalls,
)
from signalbox.llm_gateway.caching.kept import KeptAnswers
from signalbox.llm_gateway.caching.metrics import CacheLookups
from signalbox.llm_gateway.caching.rules import CacheRules
from signalbox.llm_gateway.caching.semantic import Embed, SemanticAnswers
from signalbox.llm_gateway.caching.sharing import SharedCalls
from signalbox.llm_gateway.caching.whose import AnswersOf
from signalbox.llm_gateway.calls import ModelCalls
from signalbox.llm_gateway.catalog import Catalog
from signalbox.llm_gateway.demo import DemoUpstream
from signalbox.llm_gateway.deployments import Credentials, UpstreamKind
from signalbox.llm_gateway.endpoints import router
from signalbox.llm_gateway.front import ModelFront
from signalbox.llm_gateway.keeping.endpoints import router as keeping_router
from signalbox.llm_gateway.keeping.repository import LedgerNames
from signalbox.llm_gateway.keeping.service import GatewayKeeping
from signalbox.llm_gateway.lane import Lane, LaneCounter, Patience
from signalbox.llm_gateway.ledger import BatchedLedger
from signalbox.llm_gateway.messages.endpoints import router as messages_router
from signalbox.llm_gateway.messages.http import PREFIX as MESSAGES
from signalbox.llm_gateway.messages.http import anthropic_error_response
from signalbox.llm_gateway.money import Prices
from signalbox.llm_gateway.offers import (
    OPENAI_KEY_VARIABLE,
    declared_deployments,
    local_source,
    routes_for,
    sources_of,
)
from signalbox.llm_gateway.openai_http import openai_error_response
from signalbox.llm_gateway.policies import PolicySet
from signalbox.llm_gateway.policies.endpoints import router as policies_router
from signalbox.llm_gateway.policies.managing import ManagedPolicies
from signalbox.llm_gateway.policies.source import PolicySource
from signalbox.llm_gateway.policies.spending import BudgetReports
from signalbox.llm_gateway.policies.store import SqlPolicyStore
from signalbox.llm_gateway.ports import Upstream
from signalbox.llm_gateway.repository import LedgerRepository
from signalbox.llm_gateway.responses.asking import Asking
from signalbox.llm_gateway.responses.background import BackgroundResponses
from signalbox.llm_gateway.responses.endpoints import router as responses_router
from signalbox.llm_gateway.responses.keeper import ResponseKeeper
from signalbox.llm_gateway.responses.keeping import KeptResponses
from signalbox.llm_gateway.responses.repository import ResponseRepository
from signalbox.llm_gateway.responses.service import Responses
from signalbox.llm_gateway.routing import Planner
from signalbox.llm_gateway.routing.metrics import CircuitCollector
from signalbox.llm_gateway.settings import GatewaySettings
from signalbox.llm_gateway.telemetry import CallMetrics, Names, ObservedAdmission
from signalbox.llm_gateway.upstreams import CompatibleUpstream, LitellmUpstream, ProviderHttp
from signalbox.llm_gateway.usage import Usage

_LOG = logging.getLogger(__name__)


def create_app(settings: GatewaySettings | None = None, platform: Platform | None = None) -> FastAPI:
    """The gateway as an ASGI app; with a ``platform`` as one of several services in a process."""
    settings, own = settings or GatewaySettings(), platform is None
    platform = platform or Platform.from_settings(settings)
    authenticator = platform.authenticator("llm_gateway")
    feed = _feed(settings, platform, authenticator)
    database, metrics = platform.database("llm_gateway"), Metrics("llm_gateway")
    policies = _policies(settings, database, authenticator)
    limits = _limits(settings, database, metrics, policies.source.current)
    ledger = _ledger(settings, database, limits.admission)
    http, credentials = ProviderHttp(), Credentials(platform.secrets, _environment(settings))
    catalog = _catalog(settings, http, credentials)
    prices, tracer = policies.prices, platform.tracing.tracer("llm_gateway")
    planner = _planner(settings, catalog, prices, metrics)
    attempts = _attempts(settings, catalog, http, credentials, prices)
    observed = _observed(limits.admission, catalog, ledger, metrics)
    embed = ModelCalls(planner, prices, observed, ledger, tracer, attempts).embed
    caching = _caching(settings, database, platform.cache, attempts, embed, metrics)
    calls = ModelCalls(planner, prices, observed, ledger, tracer, caching.answering)
    responses = _responses(settings, database, calls)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if own:
                await stack.enter_async_context(platform)
            await stack.enter_async_context(limits.running())
            await _run(stack, policies.source.start, policies.source.stop)
            await _run(stack, ledger.start, ledger.close)
            stack.push_async_callback(http.close)
            await stack.enter_async_context(_running(caching))
            await _run(stack, responses.keeper.start, responses.keeper.stop)
            stack.push_async_callback(responses.background.stop)
            await _run(stack, feed.start, feed.stop)
            await stack.enter_async_context(_known(catalog))
            yield

    app = create_service_app(
        ServiceParts(
            name="llm_gateway",
            title="Signalbox LLM Gateway",
            settings=settings.model_copy(update={"max_body_bytes": settings.llm_max_body_bytes}),
            tracing=platform.tracing,
            authenticator=authenticator,
            routers=[router, messages_router, responses_router, policies_router, keeping_router],
            lifespan=lifespan,
            ready_checks={"database": LedgerRepository(database).ping, **limits.checks},
            metrics=metrics,
            error_response=_error_response,
        )
    )
    _open_fronts(app, settings, calls, caching.calls, tracer)
    app.state.responses = responses.service
    app.state.usage = Usage(database, limits.corrections)
    app.state.policies, app.state.catalog = policies.managed, catalog
    app.state.keeping = GatewayKeeping(LedgerNames(database), caching.whose, now_ms)
    app.state.budgets = BudgetReports(database, policies.managed, policies.source.current, now_ms)
    return app


async def _run(
    stack: AsyncExitStack, start: Callable[[], Awaitable[None]], stop: Callable[[], Awaitable[None]]
) -> None:
    """Start a part, which is stopped when the stack is left."""
    await start()
    stack.push_async_callback(stop)


def _feed(settings: GatewaySettings, platform: Platform, authenticator: Authenticator) -> ConfigFeed:
    return ConfigFeed(
        "llm_gateway",
        settings.environment,
        platform.client(AdminClient, caller="llm_gateway"),
        settings.data / "llm_gateway",
        keys=authenticator.keys,
    )


class _Policies(NamedTuple):
    """The rules of this moment, who changes them, and the prices that are declared with them."""

    source: PolicySource
    managed: ManagedPolicies
    prices: Prices


def _policies(settings: GatewaySettings, database: Database, authenticator: Authenticator) -> _Policies:
    store, prices = SqlPolicyStore(database), Prices(declared=declared_deployments(settings))
    source = PolicySource(
        settings.llm_deployments_file,
        settings.gateway_file,
        store,
        settings.data / "llm_gateway" / "policies.json",
        keys=authenticator.keys,
        prices=prices,
        own_keys=tuple(key.record() for key in settings.llm_keys),
    )
    return _Policies(source, ManagedPolicies(source, store), prices)


class _Limits(NamedTuple):
    """What admits calls, what runs beside it, and whether it can count."""

    admission: Admission
    corrections: CountedCorrections
    running: Callable[[], AbstractAsyncContextManager[None]]
    checks: Mapping[str, ReadyCheck]


def _limits(
    settings: GatewaySettings, database: Database, metrics: Metrics, rules: Callable[[], PolicySet]
) -> _Limits:
    demands, spending = Demands(rules), LedgerSpending(database)
    shown = AdmissionMetrics(metrics.registry)
    if settings.redis_url is None:
        alone = MemoryCounters()
        admission = LimitedAdmission(demands, alone, Seeding(alone, spending), shown)
        return _Limits(admission, CountedCorrections(demands, alone, now_ms), nullcontext, {})
    # Imported here, so that a process without Redis starts sooner.
    from signalbox.common.cache.redis.address import parse_url  # noqa: PLC0415
    from signalbox.common.cache.redis.client import RedisClient  # noqa: PLC0415
    from signalbox.llm_gateway.admission.redis import Keeper, RedisCounters  # noqa: PLC0415

    client = RedisClient(parse_url(settings.redis_url), timeout_s=1.0)
    counters = RedisCounters(client, f"llm_gateway-{secrets.token_hex(8)}", on_turn=shown.turns.observe)
    processes = DatabaseProcesses(database, now_ms)
    keeper = Keeper(counters, processes, LedgerRepository(database), silent_s=settings.llm_silent_s)

    @asynccontextmanager
    async def running() -> AsyncIterator[None]:
        await keeper.start()
        try:
            yield
        finally:
            await keeper.stop()
            await client.close()

    admission = LimitedAdmission(demands, counters, Seeding(counters, spending, keeper.opened), shown)
    corrections = CountedCorrections(demands, counters, now_ms)
    return _Limits(admission, corrections, running, {"limits": keeper.ready})


def _planner(settings: GatewaySettings, catalog: Catalog, prices: Prices, metrics: Metrics) -> Planner:
    planner = Planner(catalog, prices, routes_for(settings, catalog.declared))
    metrics.registry.register(CircuitCollector(planner.health))
    return planner


def _open_fronts(
    app: FastAPI, settings: GatewaySettings, calls: ModelCalls, once: IdempotentCalls, tracer: trace.Tracer
) -> None:
    """Let the routes and the fast lane find who answers calls."""
    front = ModelFront(calls, once)
    taken = LaneCounter()
    app.state.metrics.registry.register(taken)
    lane = Lane(
        front,
        app.state.authenticator,
        app.state.metrics,
        tracer,
        settings.llm_max_body_bytes,
        Patience(settings.llm_head_timeout_s, settings.llm_body_timeout_s),
        taken,
    )
    app.state.model_calls = calls
    app.state.idempotent_calls = once
    app.state.model_front = front
    app.state.fast_lane = lane if settings.llm_lane else None


def _ledger(settings: GatewaySettings, database: Database, admission: Admission) -> BatchedLedger:
    return BatchedLedger(
        LedgerRepository(database), max_waiting=settings.ledger_max_waiting, on_written=admission.kept
    )


class _CachingParts(NamedTuple):
    """What answers calls and keeps answers, what the endpoints call, and what runs beside them."""

    answering: CachedAnswering
    kept: KeptAnswers
    shared: SharedCalls
    calls: IdempotentCalls
    keeper: IdempotencyKeeper
    whose: AnswersOf


@asynccontextmanager
async def _running(caching: _CachingParts) -> AsyncIterator[None]:
    await caching.keeper.start()
    try:
        yield
    finally:
        await caching.keeper.stop()
        await caching.shared.close()
        await caching.kept.close()


def _caching(
    settings: GatewaySettings,
    database: Database,
    cache: Cache,
    attempts: Attempts,
    embed: Embed,
    metrics: Metrics,
) -> _CachingParts:
    repository = IdempotencyRepository(database, f"llm_gateway-{secrets.token_hex(8)}")
    calls = IdempotentCalls(
        repository,
        now_ms,
        kept_s=settings.idempotency_kept_seconds,
        max_bytes=settings.idempotency_max_reply_bytes,
        when_unavailable=settings.idempotency_when_unavailable,
        silent_s=settings.llm_silent_s,
    )
    keeper = IdempotencyKeeper(
        repository, calls, now_ms, silent_s=settings.llm_silent_s, alone=settings.redis_url is None
    )
    kept, shared = KeptAnswers(cache), SharedCalls()
    rules = CacheRules(settings.declared.caches)
    semantic, whose = SemanticAnswers(kept, embed, now_ms), AnswersOf(cache)
    answering = CachedAnswering(
        attempts, rules, kept, shared, semantic, whose, now_ms, CacheLookups(metrics.registry)
    )
    return _CachingParts(answering, kept, shared, calls, keeper, whose)


def _attempts(
    settings: GatewaySettings, catalog: Catalog, http: ProviderHttp, credentials: Credentials, prices: Prices
) -> Attempts:
    upstreams = _upstreams(http, credentials)
    return Attempts(catalog, upstreams, prices, keep_content=settings.llm_record_content)


def _observed(
    admission: Admission, catalog: Catalog, ledger: BatchedLedger, metrics: Metrics
) -> ObservedAdmission:
    counted = CallMetrics(Names(catalog.deployments), ledger.waiting)
    metrics.registry.register(counted)
    return ObservedAdmission(admission, counted)


class _ResponseParts(NamedTuple):
    """What the endpoints call, and what runs beside them."""

    service: Responses
    background: BackgroundResponses
    keeper: ResponseKeeper


def _responses(settings: GatewaySettings, database: Database, calls: ModelCalls) -> _ResponseParts:
    repository = ResponseRepository(database)
    kept = KeptResponses(
        repository,
        kept_days=settings.responses_kept_days,
        max_size=settings.llm_max_body_bytes,
        clock=now_ms,
    )
    asking = Asking(calls)
    background = BackgroundResponses(
        f"llm_gateway-{secrets.token_hex(8)}",
        repository,
        kept,
        asking,
        at_most=settings.responses_max_background,
        grace_s=settings.drain_seconds,
    )
    return _ResponseParts(
        Responses(repository, kept, asking, background, now_ms),
        background,
        # Replicas share a Redis; without one a second process is refused the database.
        ResponseKeeper(repository, background, now_ms, alone=settings.redis_url is None),
    )


def _catalog(settings: GatewaySettings, http: ProviderHttp, credentials: Credentials) -> Catalog:
    declared = declared_deployments(settings)
    return Catalog(
        declared,
        settings.model_of,
        sources=sources_of(declared, http, credentials),
        local=local_source(settings, http),
    )


def _upstreams(http: ProviderHttp, credentials: Credentials) -> dict[UpstreamKind, Upstream]:
    return {
        "openai": CompatibleUpstream(http, credentials),
        "litellm": LitellmUpstream(credentials),
        "demo": DemoUpstream(),
    }


def _error_response(error: SignalboxError, path: str | None) -> Response:
    """The answer to a request that failed outside of a route, as the clients of its path expect it."""
    if path is None or not path.startswith("/llm/"):
        return problem_response(error, path)
    if path == MESSAGES or path.startswith(f"{MESSAGES}/"):
        return anthropic_error_response(error)
    return openai_error_response(error)


def _environment(settings: GatewaySettings) -> dict[str, str]:
    """Where ``env:NAME`` is looked up; the OpenAI key is there by whatever way it was set."""
    environment = dict(os.environ)
    if settings.openai_api_key is not None:
        environment[OPENAI_KEY_VARIABLE] = settings.openai_api_key.get_secret_value()
    return environment


@asynccontextmanager
async def _known(catalog: Catalog) -> AsyncIterator[None]:
    await catalog.start()
    announcing = asyncio.create_task(_announce(catalog))
    try:
        yield
    finally:
        announcing.cancel()
        await catalog.stop()


async def _announce(catalog: Catalog) -> None:
    await catalog.settle()
    for choice in catalog.describe_roles():
        _LOG.info("role %s: %s (%s)", choice.role, choice.model or "no model", choice.reason)
