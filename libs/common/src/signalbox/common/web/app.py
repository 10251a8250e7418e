"""The app factory that every service's ``create_app`` calls."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, FastAPI, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from signalbox.common.auth import PUBLIC, Authenticator
from signalbox.common.errors import Unavailable
from signalbox.common.settings import CommonSettings
from signalbox.common.telemetry.metrics import METRICS_TYPE, Metrics, render_metrics
from signalbox.common.telemetry.tracing import Tracing
from signalbox.common.web.direct import DirectApp
from signalbox.common.web.disconnect import CancelOnDisconnect
from signalbox.common.web.middleware import RequestMiddleware
from signalbox.common.web.problems import ErrorResponse, install_problem_handlers, problem_response
from signalbox.common.web.routes import LateRoute
from signalbox.contracts.admin import ServiceName

ReadyCheck = Callable[[], Awaitable[None]]
"""Returns when a dependency is usable; raises, with a sentence, when it is not."""

_READY_TIMEOUT_S = 2.0


class NotReady(Unavailable):
    """A dependency fails; the sentence names it."""

    code = "not_ready"


@dataclass(slots=True)
class ServiceParts:
    """What the app factory needs from a service."""

    name: ServiceName
    title: str
    settings: CommonSettings
    tracing: Tracing
    authenticator: Authenticator
    routers: Sequence[APIRouter]
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]]
    ready_checks: Mapping[str, ReadyCheck] = field(default_factory=dict)
    metrics: Metrics | None = None
    error_response: ErrorResponse = problem_response
    """Renders what goes wrong outside of a route, for services that speak someone else's protocol."""


def create_service_app(parts: ServiceParts) -> DirectApp:
    """An ASGI app with the service's routes, health, metrics, problem details, ids, spans and limits."""
    metrics = parts.metrics or Metrics(parts.name)
    around: dict[str, Any] = {
        "tracer": parts.tracing.tracer(parts.name),
        "metrics": metrics,
        "max_body_bytes": parts.settings.max_body_bytes,
        "error_response": parts.error_response,
    }
    app = DirectApp(
        around,
        title=parts.title,
        version="1",
        lifespan=parts.lifespan,
        docs_url=None,  # FastAPI's pages load their scripts from a CDN
        redoc_url=None,
        separate_input_output_schemas=False,
    )
    app.state.service = parts.name
    app.state.authenticator = parts.authenticator
    app.state.metrics = metrics
    app.state.ready_checks = dict(parts.ready_checks)
    install_problem_handlers(app, parts.error_response)
    serve_routes(app, _health_router(app, metrics), *parts.routers)
    app.add_middleware(CancelOnDisconnect)
    app.add_middleware(RequestMiddleware, **around)
    return app


def serve_routes(app: FastAPI, *routers: APIRouter) -> None:
    """Serve the routes of routers that were given their prefix and dependencies when they were made.

    ``include_router`` would analyse every route a second time, at the first request, and look each request's
    route up twice, for a prefix and dependencies that it could add and that nobody here gives it.
    """
    for router in routers:
        app.router.routes.extend(router.routes)


async def failing_dependencies(app: FastAPI) -> dict[str, str]:
    """Names of the dependencies that do not work now, each with the reason."""
    checks: dict[str, ReadyCheck] = app.state.ready_checks

    async def run(check: ReadyCheck) -> str | None:
        try:
            async with asyncio.timeout(_READY_TIMEOUT_S):
                await check()
        except TimeoutError:
            return f"no answer within {_READY_TIMEOUT_S:g} s"
        except Exception as error:  # noqa: BLE001 - whatever fails is what /ready is asked for
            return str(error) or type(error).__name__
        return None

    reasons = await asyncio.gather(*(run(check) for check in checks.values()))
    return {name: reason for name, reason in zip(checks, reasons, strict=True) if reason is not None}


def _health_router(app: FastAPI, metrics: Metrics) -> APIRouter:
    router = APIRouter(tags=["health"], route_class=LateRoute)

    @router.get("/live", openapi_extra=PUBLIC)
    async def live() -> dict[str, str]:
        """The process serves requests."""
        return {"status": "live"}

    @router.get("/ready", response_model=dict[str, str], openapi_extra=PUBLIC)
    async def ready() -> Response:
        """Every dependency works; else 503 with the name of each that does not."""
        failing = await failing_dependencies(app)
        if failing:
            raise NotReady("; ".join(f"{name}: {reason}" for name, reason in failing.items()))
        return JSONResponse({"status": "ready"})

    @router.get("/metrics", response_class=PlainTextResponse, openapi_extra=PUBLIC)
    async def prometheus() -> Response:
        """Metrics in the Prometheus text format."""
        return Response(render_metrics([metrics]), media_type=METRICS_TYPE)

    return router
