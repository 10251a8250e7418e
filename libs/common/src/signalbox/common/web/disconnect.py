"""Stops serving a request whose client has left, so that cancelling a call reaches what it set in motion.

Servers only say ``http.disconnect`` to whoever asks; an endpoint that awaits a model does not. Calls between
services in one process need none of this: their transport cancels the callee itself.
"""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_CANCELLED_PATHS = ("/internal/", "/llm/")
"""Work done for a caller that waits for it. A query is different: its workflow says what happens."""


class CancelOnDisconnect:
    """Cancels the app's task when the client of a call between services, or of a model, goes away."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        over_network = scope["type"] == "http" and scope.get("client") is not None
        if not over_network or not scope["path"].startswith(_CANCELLED_PATHS):
            await self._app(scope, receive, send)
            return
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("an ASGI app is called in a task")
        watch = _Watch(receive, task)
        try:
            await self._app(scope, watch.receive, send)
        except asyncio.CancelledError:
            if not watch.cancelled_by_us:
                raise
            task.uncancel()
        finally:
            watch.stop()


class _Watch:
    """Passes the request's body on, then waits for the client to leave."""

    def __init__(self, receive: Receive, task: asyncio.Task[None]) -> None:
        self._receive = receive
        self._task = task
        self._watcher: asyncio.Task[None] | None = None
        self._gone = asyncio.Event()
        self.cancelled_by_us = False

    async def receive(self) -> Message:
        """The next message of the request."""
        if self._watcher is not None:
            await self._gone.wait()
            return {"type": "http.disconnect"}
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            self._watcher = asyncio.create_task(self._wait_for_disconnect())
        return message

    def stop(self) -> None:
        """Stop watching."""
        if self._watcher is not None:
            self._watcher.cancel()

    async def _wait_for_disconnect(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone.set()
        self.cancelled_by_us = True
        self._task.cancel()
