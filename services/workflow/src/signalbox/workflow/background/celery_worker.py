"""A Celery worker: threads that wait for messages, and one event loop with the service's wiring that does the work.

A thread holds a message until its task is over, and only then acknowledges it (late). What a message means is decided
by the row: one that comes twice, or too late, finds nothing to do.
"""

import asyncio
import gc
import logging
import signal
import socket
import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from signalbox.common.errors import SignalboxError
from signalbox.workflow.background.celery_queue import LOOK, celery_app
from signalbox.workflow.background.records import TaskName
from signalbox.workflow.settings import WorkflowSettings

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import ASGIApp, Receive, Scope, Send

_CHATTY = ("celery.app.trace", "celery.worker.strategy")
"""Loggers that say two lines about every message."""
_PROBES = frozenset({"/live", "/ready", "/metrics"})


class ProbesOnly:
    """An ASGI app that serves health and metrics of the app inside, and nothing else of it."""

    def __init__(self, app: "ASGIApp") -> None:
        self._app = app

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Serve one request or the lifespan."""
        if scope["type"] == "http" and scope["path"] not in _PROBES:
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        await self._app(scope, receive, send)


class ServiceLoop:
    """The service in an event loop of its own thread, with its probes on a port."""

    def __init__(self, app: "FastAPI", listener: socket.socket) -> None:
        import uvicorn  # noqa: PLC0415 - as the other commands do

        from signalbox.common.cli.refusal import RefusalKept  # noqa: PLC0415

        self.app = app
        self._listener = listener
        self._inside = RefusalKept(ProbesOnly(app))
        begun = self._begun = Future[asyncio.AbstractEventLoop]()

        class Server(uvicorn.Server):
            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                if self.started:
                    begun.set_result(asyncio.get_running_loop())

        self._server = Server(
            uvicorn.Config(self._inside, log_config=None, access_log=False, lifespan="on", ws="none")
        )
        self._thread = threading.Thread(target=self._run, name="service-loop", daemon=True)

    def start(self) -> None:
        """Start the service, and return when it is there.

        Raises:
            SignalboxError: it refuses to start.
        """
        self._thread.start()
        self._begun.result()

    def look(self, tenant: str, task_id: str) -> None:
        """Have a task looked at, and wait until that is done. For any thread."""
        work = self.app.state.task_runner.look(TaskName(tenant, task_id))
        asyncio.run_coroutine_threadsafe(work, self._begun.result()).result()

    def drain(self) -> None:
        """Let running turns end in the service's time, then stop them and give their tasks back; returns at once."""
        asyncio.run_coroutine_threadsafe(self.app.state.drain(), self._begun.result())

    def stop(self) -> None:
        """End the service."""
        self._server.should_exit = True
        self._thread.join()

    def _run(self) -> None:
        with suppress(SystemExit):  # uvicorn's answer to a lifespan that failed
            asyncio.run(self._server.serve(sockets=[self._listener]))
        if not self._begun.done():
            refusal = self._inside.refusal or SignalboxError("The service did not start; its log says why.")
            self._begun.set_exception(refusal)


def run_worker(settings: WorkflowSettings, app: "FastAPI", listener: socket.socket) -> int:
    """Work on tasks until SIGTERM or SIGINT; the exit status.

    Raises:
        SignalboxError: the service refuses to start, or Celery is not installed.
    """
    celery = celery_app(settings)
    from celery.signals import worker_shutting_down  # noqa: PLC0415 - only where workers are used

    service = ServiceLoop(app, listener)
    service.start()
    celery.task(name=LOOK, acks_late=True, ignore_result=True)(service.look)

    def stopping(**_: Any) -> None:
        service.drain()

    worker_shutting_down.connect(stopping, weak=False)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))
    worker = celery.Worker(
        pool_cls="threads",
        concurrency=settings.task_concurrency,
        loglevel=settings.log_level,
        quiet=True,
        without_gossip=True,
        without_heartbeat=True,
        without_mingle=True,
    )
    try:
        worker.start()
    finally:
        # Celery's handlers have done their part: a signal that comes now must not cut the end short.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        service.stop()
        # The interpreter looks through everything once more as it ends, for seconds on a busy machine.
        gc.freeze()
    return int(worker.exitcode or 0)
