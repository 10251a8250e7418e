"""Answers that are streams of frames: events while the work is under way, then one result or error."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Send

from signalbox.common.clients.frames import NDJSON, frame_line
from signalbox.common.context import current_deadline
from signalbox.common.errors import DeadlineExceeded, SignalboxError
from signalbox.common.web.problems import problem_of
from signalbox.contracts.events import WorkEvent
from signalbox.contracts.work import ErrorFrame, EventFrame, Frame

_LOG = logging.getLogger(__name__)

Emit = Callable[[WorkEvent], None]
"""Sends an event to whoever reads the stream; never waits."""

Work = Callable[[Emit], Awaitable[Frame]]
"""Does the work, emitting events, and returns the last frame."""


FRAMES: dict[int | str, dict[str, Any]] = {200: {"content": {NDJSON: {}}}}
"""What such a route answers, for the API description."""


def frame_response(work: Work) -> StreamingResponse:
    """The streamed answer of ``work``, which is cancelled when the reader leaves."""
    return StreamingResponse(_stream(work), media_type=NDJSON)


async def work_frames(work: Work) -> AsyncGenerator[list[Frame], None]:
    """The frames of ``work`` as they come, those that are ready at once together.

    What the work raises becomes an error frame; the deadline of the request being served ends it with one.
    Leaving the generator cancels the work and waits until it has stopped.
    """
    queue: asyncio.Queue[Frame] = asyncio.Queue()
    task = asyncio.create_task(_last_frame(work, lambda event: queue.put_nowait(EventFrame(event=event))))
    task.add_done_callback(
        lambda done: queue.put_nowait(_broken_off() if done.cancelled() else done.result())
    )
    try:
        over = False
        while not over:
            ready = [await queue.get()]
            while not queue.empty():
                ready.append(queue.get_nowait())
            over = not isinstance(ready[-1], EventFrame)
            yield ready
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def send_frames(send: Send, work: Work) -> None:
    """Answer with the frames of ``work``; the last one ends the answer, in one piece with its end."""
    head = [(b"content-type", NDJSON.encode())]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    async with aclosing(work_frames(work)) as ready:
        async for frames in ready:
            lines = b"".join(frame_line(frame) for frame in frames)
            more = isinstance(frames[-1], EventFrame)
            await send({"type": "http.response.body", "body": lines, "more_body": more})


async def _stream(work: Work) -> AsyncGenerator[bytes, None]:
    async with aclosing(work_frames(work)) as ready:
        async for frames in ready:
            yield b"".join(frame_line(frame) for frame in frames)


async def _last_frame(work: Work, emit: Emit) -> Frame:
    try:
        async with asyncio.timeout(current_deadline().remaining()) as limit:
            return await work(emit)
    except SignalboxError as error:
        return ErrorFrame(problem=problem_of(error))
    except TimeoutError:
        if limit.expired():
            return ErrorFrame(problem=problem_of(_deadline_exceeded()))
        _LOG.exception("unhandled error")
        return ErrorFrame(problem=problem_of(_internal()))
    except Exception:  # noqa: BLE001 - logged with its traceback
        # A bug: said once, with its traceback, where operators look; the caller gets no internals.
        _LOG.exception("unhandled error")
        return ErrorFrame(problem=problem_of(_internal()))


def _deadline_exceeded() -> SignalboxError:
    return DeadlineExceeded("The work was not done in the time that its caller gave.")


def _broken_off() -> ErrorFrame:
    """Seen only by a reader whose work was cancelled by somebody else."""
    return ErrorFrame(problem=problem_of(SignalboxError("The work was stopped before it was done.")))


def _internal() -> SignalboxError:
    return SignalboxError("Something went wrong on our side; the request id finds it.")
