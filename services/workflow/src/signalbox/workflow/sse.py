"""Server-sent events (WHATWG HTML, section 9.2): a turn's log as ``id`` and ``data`` lines, no event name."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from starlette.responses import StreamingResponse

from signalbox.common.errors import SignalboxError
from signalbox.common.web.problems import problem_of
from signalbox.contracts.events import ErrorEvent

Events = AsyncGenerator[tuple[int, bytes] | None, None] | AsyncGenerator[tuple[int, bytes], None]
"""Numbered events as they come; None now and then while there are none."""

_HEARTBEAT = b": keep-alive\n\n"
_HEARTBEAT_S = 15.0
_RECONNECT = b": reconnect\nretry: 100\n\n"
"""Asks the client to come back with ``Last-Event-ID`` after so many milliseconds, as browsers do by themselves."""


def frame(number: int, event: bytes) -> bytes:
    """One event; JSON has no line ends of its own."""
    return b"id: %d\ndata: %s\n\n" % (number, event)


EVENT_STREAM: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {}}}}
"""What a streaming route answers, for the API description."""


def event_stream(frames: AsyncIterator[bytes], headers: dict[str, str] | None = None) -> StreamingResponse:
    """A response that sends frames as they come and is not buffered or stored on the way."""
    return StreamingResponse(
        frames,
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no", **(headers or {})},
    )


async def with_heartbeats(
    events: Events,
    after: int = 0,
    ending: asyncio.Event | None = None,
) -> AsyncGenerator[bytes, None]:
    """Frames of events that follow on ``after``, and a comment whenever nothing came for a while.

    An error ends the stream in band. Once ``ending`` is set it ends with the hint to go on elsewhere.
    """
    last, pending = after, asyncio.ensure_future(anext(events))
    ended = asyncio.ensure_future(ending.wait()) if ending is not None else None
    waited = {pending} if ended is None else {pending, ended}
    loop = asyncio.get_running_loop()
    silent_since = loop.time()
    try:
        while True:
            left = silent_since + _HEARTBEAT_S - loop.time()
            await asyncio.wait(waited, timeout=max(left, 0), return_when=asyncio.FIRST_COMPLETED)
            item = None
            if pending.done():
                try:
                    item = pending.result()
                except StopAsyncIteration:
                    return
                except SignalboxError as error:
                    yield frame(last + 1, _in_band(error))
                    return
                waited.discard(pending)
                pending = asyncio.ensure_future(anext(events))
                waited.add(pending)
            elif ended is not None and ended.done():
                yield _RECONNECT
                return
            if item is not None:
                last = item[0]
                yield frame(*item)
            elif loop.time() - silent_since < _HEARTBEAT_S:
                continue
            else:
                yield _HEARTBEAT
            silent_since = loop.time()
    finally:
        waiting = [task for task in (pending, ended) if task is not None]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await events.aclose()


def _in_band(error: SignalboxError) -> bytes:
    return ErrorEvent(data=problem_of(error)).model_dump_json(exclude_none=True).encode()
