"""What one process serves once for all its services: health, metrics, the joined API description, a signpost."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager

from fastapi import APIRouter, FastAPI, Response
from fastapi.responses import JSONResponse

from signalbox.common.auth import PUBLIC
from signalbox.common.telemetry.metrics import METRICS_TYPE, render_metrics
from signalbox.common.web.app import NotReady, ReadyCheck, failing_dependencies, serve_routes
from signalbox.common.web.openapi import join_openapi
from signalbox.common.web.problems import install_problem_handlers
from signalbox.common.web.routes import LateRoute
from signalbox.contracts.admin import ServiceName

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def create_front(
    apps: Mapping[ServiceName, FastAPI], lifespan: Lifespan, ready_checks: Mapping[str, ReadyCheck]
) -> FastAPI:
    """The app behind every path that no service owns; ``ready_checks`` are the process's own."""
    front = FastAPI(title="Signalbox", version="1", lifespan=lifespan, docs_url=None, redoc_url=None)
    front.state.ready_checks = dict(ready_checks)
    install_problem_handlers(front)
    router = APIRouter(tags=["health"], route_class=LateRoute)

    @router.get("/", openapi_extra=PUBLIC)
    async def signpost() -> dict[str, str]:
        """Where things are."""
        return {
            "query": "/api/v1/query",
            "models": "/llm/v1/models",
            "openapi": "/openapi.json",
            "ready": "/ready",
        }

    @router.get("/live", openapi_extra=PUBLIC)
    async def live() -> dict[str, str]:
        """The process serves requests."""
        return {"status": "live"}

    @router.get("/ready", openapi_extra=PUBLIC)
    async def ready() -> Response:
        """Every dependency of every service works; else 503 with the name of each that does not."""
        checked: dict[str, FastAPI] = {**{str(name): app for name, app in apps.items()}, "process": front}
        results = await asyncio.gather(*(failing_dependencies(app) for app in checked.values()))
        failing = [
            f"{service}/{name}: {reason}"
            for service, found in zip(checked, results, strict=True)
            for name, reason in found.items()
        ]
        if failing:
            raise NotReady("; ".join(failing))
        return JSONResponse({"status": "ready"})

    @router.get("/metrics", openapi_extra=PUBLIC)
    async def metrics() -> Response:
        """Metrics of all services in the Prometheus text format."""
        return Response(render_metrics(app.state.metrics for app in apps.values()), media_type=METRICS_TYPE)

    serve_routes(front, router)
    front.openapi = lambda: join_openapi("Signalbox", apps.values())  # type: ignore[method-assign]  # as FastAPI documents it
    return front
