"""``signalbox serve`` and ``signalbox openapi``: one service as a process of its own, and its API description."""

import asyncio
import gc
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from signalbox.common.errors import NotFound, SignalboxError
from signalbox.common.installed import registered

if TYPE_CHECKING:
    from fastapi import FastAPI

    from signalbox.common.web.hosts import OwnHosts

    FastLane = Callable[[OwnHosts | None], type[asyncio.Protocol]]
    """Makes a protocol class for uvicorn, whose requests must name one of these hosts (None: any)."""

SERVICES_GROUP = "signalbox.services"
_COLLECT_AFTER = 20_000
"""Objects that may be made, less those freed, before the collector looks at them."""

_IDLE_S = 3.0
"""Seconds after the start at which what only later calls need is loaded."""

_SERVER_OPTIONS: dict[str, Any] = {
    "log_config": None,
    "access_log": False,
    "lifespan": "on",
    "ws_per_message_deflate": False,  # a few bytes can be inflated to very many
    "server_header": False,
    "date_header": False,
    "backlog": 2048,
}

app = typer.Typer()


class PortTaken(SignalboxError):
    """Something else listens on the port."""

    code = "port_taken"

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(f"Cannot listen on {host}:{port} ({reason}); choose another with --port.")


@app.command()
def serve(
    service: Annotated[str, typer.Argument(help="workflow, skills, flows, tools, llm_gateway or admin.")],
    host: Annotated[str | None, typer.Option(help="Address to listen on; default: SIGNALBOX_HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="Default: the service's own, 8001 to 8006.")] = None,
) -> None:
    """Run one service."""
    from signalbox.common.settings import DEFAULT_PORTS, SERVICE_OF

    if host is not None:
        os.environ["SIGNALBOX_HOST"] = host
    create_app = load_factory(service)
    asgi_app = create_app()
    listener = bind(
        host or os.environ.get("SIGNALBOX_HOST", "127.0.0.1"), port or DEFAULT_PORTS[SERVICE_OF[service]]
    )
    run_app(
        asgi_app,
        listener,
        services=[asgi_app],
        drain=getattr(asgi_app.state, "drain", None),
        fast_lane=getattr(asgi_app.state, "fast_lane", None),
    )


@app.command()
def openapi(
    service: Annotated[str, typer.Argument(help="Name of an installed service.")],
) -> None:
    """Print the service's OpenAPI document."""
    from signalbox.common.web.openapi import render_openapi

    print(render_openapi(load_factory(service)()), end="")


def load_factory(service: str) -> "Callable[..., FastAPI]":
    """The ``create_app`` of an installed service.

    Raises:
        NotFound: no such service is installed; the sentence names those that are.
    """
    installed = {point.name: point for point in registered(SERVICES_GROUP)}
    if service not in installed:
        raise NotFound(
            f"No service '{service}' is installed here; there are: {', '.join(sorted(installed))}."
        )
    factory: Callable[..., FastAPI] = installed[service].load()
    return factory


def run_app(
    asgi_app: Any,
    listener: socket.socket,
    *,
    services: "Sequence[FastAPI]",
    on_started: Callable[[], None] | None = None,
    drain: Callable[[], Awaitable[None]] | None = None,
    fast_lane: "FastLane | None" = None,
) -> None:
    """Serve an ASGI app until SIGINT or SIGTERM; running requests get ``drain_seconds`` to end.

    ``services`` are the apps behind it, whose routes are analysed when the process is idle. ``drain`` ends what would
    hold requests longer; it runs while they may still be answered. ``fast_lane`` makes the class that speaks HTTP,
    where an app answers its busiest requests before they are ASGI's.

    Raises:
        SignalboxError: the app refuses to start.
    """
    import uvicorn

    from signalbox.common.cli.joined_writes import JoinedWrites
    from signalbox.common.cli.refusal import RefusalKept
    from signalbox.common.settings import CommonSettings
    from signalbox.common.telemetry import configure_logging
    from signalbox.common.web.hosts import LocalHostsOnly, OwnHosts

    configure_logging((settings := CommonSettings()).log_level)

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            _collect_less()
            if self.started:
                loop = asyncio.get_running_loop()
                loop.call_later(_IDLE_S, loop.run_in_executor, None, _load_late, services)
                if on_started is not None:
                    on_started()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            draining = asyncio.ensure_future(drain()) if drain is not None else None
            await super().shutdown(sockets)
            if draining is not None:
                await draining

    hosts = OwnHosts(settings.hosts) if settings.auth == "local" else None
    app_inside = RefusalKept(asgi_app if hosts is None else LocalHostsOnly(asgi_app, hosts))
    config = uvicorn.Config(
        app_inside,
        timeout_graceful_shutdown=int(settings.drain_seconds),
        http=JoinedWrites if fast_lane is None else fast_lane(hosts),
        ws=_open_websocket,  # type: ignore[arg-type]  # it is only called
        ws_max_size=settings.max_body_bytes,
        **_SERVER_OPTIONS,
    )
    try:
        Server(config).run(sockets=[listener])
    except SystemExit:
        if app_inside.refusal is not None:
            raise app_inside.refusal from None
        raise


def _open_websocket(*args: Any, **options: Any) -> asyncio.Protocol:
    """The protocol of one WebSocket; what it needs is imported with the first."""
    from signalbox.common.cli.websocket import DrainingWebSocket

    return DrainingWebSocket(*args, **options)


def _collect_less() -> None:
    """Keep the collector from what it would find nothing in."""
    # What a start makes lives as long as the process: the collector need not look at it, now or again.
    gc.freeze()
    gc.enable()
    # What a request makes is freed by its reference counts; looking for cycles after every 700 objects, as is the
    # default, took a twelfth of a model call's time.
    gc.set_threshold(_COLLECT_AFTER, 20, 20)


def _load_late(services: "Sequence[FastAPI]") -> None:
    from signalbox.common.arguments import load_checks
    from signalbox.common.transport import load_http_client
    from signalbox.common.web.late import build_late

    # One after the other in one thread: each more would take the interpreter from the requests more often.
    build_late(services)
    load_http_client()
    load_checks()


def bind(host: str, port: int) -> socket.socket:
    """A bound socket.

    Raises:
        PortTaken: something else listens there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # asyncio sets this only on sockets that name their protocol; streams must not wait for ACKs.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise PortTaken(host, port, error.strerror or str(error)) from error
    return listener
