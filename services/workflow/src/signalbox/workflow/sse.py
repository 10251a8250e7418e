"""Server-sent events (WHATWG HTML, section 9.2): a turn's log as ``id`` and ``data`` lines, no event name."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

from starlette.responses import StreamingResponse

from signalbox.common.errors import SignalboxError
from signalbox.common.web.problems import problem_of
from signalbox.contracts.events import ErrorEvent

_HEARTBEAT = b": keep-alive\n\n"
_HEARTBEAT_S = 15.0


def frame(number: int, event: bytes) -> bytes:
    """One event; JSON has no line ends of its own."""
    return b"id: %d\ndata: %s\n\n" % (number, event)


def event_stream(frames: AsyncIterator[bytes], headers: dict[str, str] | None = None) -> StreamingResponse:
    """A response that sends frames as they come and is not buffered or stored on the way."""
    return StreamingResponse(
        frames,
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no", **(headers or {})},
    )


async def with_heartbeats(
    events: AsyncGenerator[tuple[int, bytes] | None, None],
) -> AsyncGenerator[bytes, None]:
    """Frames of events, and a comment whenever nothing came for a while; an error ends the stream in band."""
    last = 0
    pending: asyncio.Task[tuple[int, bytes] | None] | None = None
    try:
        while True:
            if pending is None:
                pending = asyncio.ensure_future(anext(events))
            done, _ = await asyncio.wait({pending}, timeout=_HEARTBEAT_S)
            if not done:
                yield _HEARTBEAT
                continue
            task, pending = pending, None
            try:
                item = task.result()
            except StopAsyncIteration:
                return
            except SignalboxError as error:
                yield frame(last + 1, _in_band(error))
                return
            if item is None:
                yield _HEARTBEAT
            else:
                last = item[0]
                yield frame(*item)
    finally:
        if pending is not None:
            pending.cancel()
            await asyncio.gather(pending, return_exceptions=True)
        await events.aclose()


def _in_band(error: SignalboxError) -> bytes:
    return ErrorEvent(data=problem_of(error)).model_dump_json(exclude_none=True).encode()
