"""The one-process app: the six services behind one listener, calling each other in memory."""

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from signalbox.admin.app import create_app as create_admin
from signalbox.admin.app import publisher_of
from signalbox.admin.settings import AdminSettings
from signalbox.common.auth import LOCAL_PRINCIPAL
from signalbox.common.platform import Platform
from signalbox.common.settings import SERVICE_NAMES, CommonSettings
from signalbox.common.transport import AsgiServiceHop, lifespans
from signalbox.contracts.admin import PublishRequest, ServiceName
from signalbox.flows.app import create_app as create_flows
from signalbox.flows.settings import FlowsSettings
from signalbox.llm_gateway.app import create_app as create_gateway
from signalbox.llm_gateway.settings import GatewaySettings
from signalbox.skills.app import create_app as create_skills
from signalbox.skills.settings import SkillsSettings
from signalbox.standalone.folder import Publish, WorkflowFolder
from signalbox.standalone.front import create_front
from signalbox.tools.app import create_app as create_tools
from signalbox.tools.settings import ToolsSettings
from signalbox.workflow.app import create_app as create_workflow
from signalbox.workflow.settings import WorkflowSettings

_LOG = logging.getLogger(__name__)

_PREFIXES: tuple[tuple[str, ServiceName], ...] = (
    ("/api/v1", "workflow"),
    ("/v1", "workflow"),
    ("/llm", "llm_gateway"),
    ("/mcp", "tools"),
    ("/admin/api/v1", "admin"),
    ("/console", "admin"),
)
"""The public paths, the same in every shape. What is not here, ``/internal`` above all, is not served."""


class OneProcess:
    """An ASGI app that passes each request to the service that owns its path."""

    def __init__(self, apps: Mapping[ServiceName, FastAPI], front: ASGIApp) -> None:
        self.apps = dict(apps)
        self._front = front

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or the lifespan."""
        app: ASGIApp = self._front
        if scope["type"] in {"http", "websocket"}:
            path: str = scope["path"]
            for prefix, service in _PREFIXES:
                if path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in {"", "/"}:
                    app = self.apps[service]
                    break
        await app(scope, receive, send)


class _Sibling:
    """An app that exists by the time it is called."""

    def __init__(self, apps: Mapping[ServiceName, FastAPI], name: ServiceName) -> None:
        self._apps = apps
        self._name = name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._apps[self._name](scope, receive, send)


def create_app(
    settings: CommonSettings | None = None,
    *,
    folder: Path | None = None,
    say: Callable[[str], None] = _LOG.info,
) -> OneProcess:
    """All services in one process. The settings given here win over the environment, in every service.

    ``folder`` holds a workflow to publish, now and whenever it is saved; ``say`` is told how that went.
    """
    settings = settings or CommonSettings()
    platform = Platform.from_settings(settings)
    apps = _create_services(settings, platform)
    served = WorkflowFolder(folder, _publisher(apps["admin"]), say) if folder is not None else None

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(platform)
            await stack.enter_async_context(lifespans([apps[name] for name in SERVICE_NAMES]))
            if served is not None:
                served.start()
                stack.push_async_callback(served.stop)
            yield

    return OneProcess(apps, create_front(apps, lifespan, {"workflow folder": served.check} if served else {}))


def _publisher(admin: FastAPI) -> Publish:
    async def publish(document: dict[str, Any]) -> str:
        request = PublishRequest(document=document, message="saved in the workflow folder")
        reply = await publisher_of(admin).publish(LOCAL_PRINCIPAL, request)
        number = reply.release.number if reply.release else "-"
        return (
            f"published {reply.snapshot.workflow_id} release {number} ({reply.snapshot.config_hash[:12]}, "
            f"{len(reply.snapshot.warnings)} warnings)"
        )

    return publish


def _create_services(settings: CommonSettings, platform: Platform) -> dict[ServiceName, FastAPI]:
    given = settings.model_dump()
    apps: dict[ServiceName, FastAPI] = {}
    for name in SERVICE_NAMES:
        # A service is made after the hops to it: clients made by the factories below find it by name.
        platform.hops[name] = AsgiServiceHop(_Sibling(apps, name), service=name)
    apps["admin"] = create_admin(AdminSettings(**given), platform)
    apps["llm_gateway"] = create_gateway(GatewaySettings(**given), platform)
    apps["tools"] = create_tools(ToolsSettings(**given), platform)
    apps["flows"] = create_flows(FlowsSettings(**given), platform)
    apps["skills"] = create_skills(SkillsSettings(**given), platform)
    apps["workflow"] = create_workflow(WorkflowSettings(**given), platform)
    return apps
