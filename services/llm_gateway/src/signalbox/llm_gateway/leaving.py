"""Work that ends when the client does."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar, runtime_checkable

from starlette.types import Receive

T = TypeVar("T")


class ClientLeft(Exception):
    """Nobody waits for the answer any more; what was being done for it has been cancelled."""


@runtime_checkable
class Closable(Protocol):
    """An answer that holds something, such as a provider's connection."""

    async def aclose(self) -> None:
        """Give it back."""
        ...


async def while_client_stays(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``, which is cancelled as soon as the client disconnects.

    ``receive`` must have given the whole request body already. A result that comes when nobody takes it any more is
    closed, if it can be.

    Raises:
        ClientLeft: it has disconnected, and ``work`` has ended.
    """
    task = asyncio.ensure_future(work)
    watcher = asyncio.ensure_future(_disconnect(receive))
    try:
        await asyncio.wait({task, watcher}, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        # The result may have come in this very moment. Whoever cancels us a second time does not stop the closing.
        await asyncio.shield(_dropped(task, watcher))
        raise
    if task.done():
        # The watcher is not waited for: who is cancelled meanwhile would have the result in hand and lose it.
        watcher.cancel()
        return task.result()
    await asyncio.shield(_dropped(task, watcher))
    raise ClientLeft


async def _dropped(task: asyncio.Future[Any], watcher: asyncio.Future[None]) -> None:
    task.cancel()
    watcher.cancel()
    results: tuple[Any, ...] = await asyncio.gather(task, watcher, return_exceptions=True)
    if isinstance(results[0], Closable):
        await results[0].aclose()


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
