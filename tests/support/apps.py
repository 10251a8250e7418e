"""Small service apps for tests of what all services share, and ways to call them without a socket."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from fastapi import APIRouter, FastAPI
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from signalbox.common.auth import Authenticator, ServiceTokens
from signalbox.common.settings import CommonSettings
from signalbox.common.telemetry import Tracing
from signalbox.common.web import ReadyCheck, ServiceParts, create_service_app
from signalbox.common.web.direct import DirectApp
from signalbox.contracts.admin import ServiceName

SERVICE_SECRET = "a-secret-that-all-services-of-a-test-share"


class RecordedTracing(Tracing):
    """Tracing whose finished spans can be looked at."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        super().__init__([self._exporter])

    def spans(self) -> Sequence[ReadableSpan]:
        """All spans that have ended; the tracing is closed by this."""
        self.close()
        return self._exporter.get_finished_spans()


def service_app(
    *routers: APIRouter,
    name: ServiceName = "flows",
    auth: str = "keys",
    max_body_bytes: int = 4096,
    tracing: Tracing | None = None,
    ready_checks: Mapping[str, ReadyCheck] | None = None,
) -> DirectApp:
    """A service made by the app factory, with a lifespan that does nothing."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield

    tokens = ServiceTokens(SERVICE_SECRET, name)
    return create_service_app(
        ServiceParts(
            name=name,
            title="Under test",
            settings=CommonSettings(data=Path("unused"), max_body_bytes=max_body_bytes),
            tracing=tracing or Tracing(),
            authenticator=Authenticator(name, tokens, allow_local=auth == "local"),
            routers=routers,
            lifespan=lifespan,
            ready_checks=ready_checks or {},
        )
    )


def caller(app: Any) -> httpx.AsyncClient:
    """An HTTP client of an app, without a socket; what the app raises is a 500 as a server would make it."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://service")
