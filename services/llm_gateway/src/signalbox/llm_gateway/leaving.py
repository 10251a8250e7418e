"""Work that ends when the client does."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import Receive

T = TypeVar("T")


class ClientLeft(Exception):
    """Nobody waits for the answer any more; what was being done for it has been cancelled."""


async def while_client_stays(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``, which is cancelled as soon as the client disconnects.

    ``receive`` must have given the whole request body already.

    Raises:
        ClientLeft: it has disconnected, and ``work`` has ended.
    """
    task = asyncio.ensure_future(work)
    watcher = asyncio.ensure_future(_disconnect(receive))
    try:
        await asyncio.wait({task, watcher}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
    except BaseException:
        await _end(task)
        raise
    finally:
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)
    await _end(task)
    raise ClientLeft


async def _end(task: "asyncio.Future[Any]") -> None:
    """Cancel it; what it gave all the same nobody gets, such as a stream that was ready when the client left."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    if task.cancelled() or task.exception() is not None:
        return
    close = getattr(task.result(), "aclose", None)
    if close is not None:
        await close()


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
