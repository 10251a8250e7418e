"""Entering the lifespans of ASGI applications (ASGI Lifespan specification 2.0) without a server.

An application that raises instead of speaking the lifespan protocol counts as failed: all of ours speak it,
and a start that failed quietly is dearer than one that is refused.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Self

logger = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
AsgiApp = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]


class LifespanError(RuntimeError):
    """An application did not start or did not stop; the text is the application's own message."""


class LifespanManager:
    """Runs one application's lifespan in a task of its own, as its context managers need it.

    `state` is the dictionary that the application fills during startup (the specification's "lifespan
    state"); give it to the `AsgiServiceHop` that calls the application.
    """

    def __init__(self, app: AsgiApp) -> None:
        self.state: dict[str, Any] = {}
        self._app = app
        self._events: asyncio.Queue[Message] = asyncio.Queue()
        self._answer: asyncio.Future[Message] | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        scope: Message = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        self._task = asyncio.create_task(self._run(scope))
        try:
            await self._phase("startup", self._task)
        except BaseException:
            self._task.cancel()
            await self._reap(self._task)
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._task is None:
            return
        try:
            await self._phase("shutdown", self._task)
        finally:
            await self._reap(self._task)

    async def _run(self, scope: Message) -> None:
        await self._app(scope, self._events.get, self._send)

    async def _send(self, message: Message) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(message)

    async def _phase(self, name: str, task: asyncio.Task[None]) -> None:
        """Announce startup or shutdown and wait for the application's answer or its end."""
        self._answer = answer = asyncio.get_running_loop().create_future()
        self._events.put_nowait({"type": f"lifespan.{name}"})
        await asyncio.wait({task, answer}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise LifespanError(self._ending(name, task))
        message = answer.result()
        if message["type"] != f"lifespan.{name}.complete":
            raise LifespanError(message.get("message") or f"the application failed at {name}")

    @staticmethod
    def _ending(name: str, task: asyncio.Task[None]) -> str:
        error = None if task.cancelled() else task.exception()
        return (
            f"{type(error).__name__}: {error}"
            if error
            else f"the application left its lifespan before {name}"
        )

    @staticmethod
    async def _reap(task: asyncio.Task[None]) -> None:
        """Wait for the end of the lifespan's task and log what it raised; the message was raised already."""
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        if isinstance(outcome, Exception):
            logger.error("an application raised in its lifespan", exc_info=outcome)


@asynccontextmanager
async def lifespans(apps: Iterable[AsgiApp]) -> AsyncIterator[list[dict[str, Any]]]:
    """Start the applications in order and stop them in reverse, all of them, whatever fails in between.

    Yields one state dictionary per application. Raises `LifespanError` when one does not start (those before
    it are stopped first) or does not stop (those before it are still stopped).
    """
    async with AsyncExitStack() as stack:
        managers = [await stack.enter_async_context(LifespanManager(app)) for app in apps]
        yield [manager.state for manager in managers]
