"""Two attempts side by side: the first that is answered counts, the other is stopped and paid for."""

import asyncio
from collections.abc import Awaitable, Callable

from signalbox.common.errors import SignalboxError
from signalbox.llm_gateway.attempts.delivery import Begun
from signalbox.llm_gateway.call import Call
from signalbox.llm_gateway.completion import Completion
from signalbox.llm_gateway.routing import Course, Turn
from signalbox.llm_gateway.routing.pace import Pace

Answer = bytes | Completion | Begun
Attempt = Callable[[Turn], Awaitable[Answer]]


async def hedged(call: Call, course: Course, turn: Turn, pace: Pace, attempt: Attempt) -> Answer:
    """The answer to ``turn``'s attempt, or to another one, made when the first takes unusually long.

    Raises what ``turn``'s attempt fails with, when the other one fails too; that one's failure is in ``course``.
    """
    clock = asyncio.get_running_loop().time
    began = clock()
    unusual_s = pace.unusual_s()
    running: dict[asyncio.Future[Answer], Turn] = {}
    answer: Answer | None = None
    try:
        running[asyncio.ensure_future(attempt(turn))] = turn
        done, _ = await asyncio.wait(running, timeout=unusual_s)
        other = None if done or not pace.take() else course.beside(turn)
        if other is not None:
            running[asyncio.ensure_future(attempt(other))] = other
        answer = await _first_of(running, course, turn)
    finally:
        try:
            await _stop(running)
        except BaseException:
            # The client left just now, so nobody will read what was answered.
            if isinstance(answer, Begun):
                await answer.aclose()
            raise
    pace.add(clock() - began)
    if other is not None:
        call.account.drop(besides=answer.stream.attempt if isinstance(answer, Begun) else None)
    return answer


async def _first_of(running: dict[asyncio.Future[Answer], Turn], course: Course, turn: Turn) -> Answer:
    failure: SignalboxError | None = None
    while running:
        done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            ended = running.pop(task)
            try:
                answer = task.result()
            except SignalboxError as error:
                if ended is turn:
                    failure = error
                else:
                    course.failed(ended, error)
                continue
            if failure is not None:
                course.failed(turn, failure)
            return answer
    raise failure or asyncio.CancelledError


async def _stop(running: dict[asyncio.Future[Answer], Turn]) -> None:
    """Stop what is still running; an answer that came at the same moment as the first is left unread."""
    for task in running:
        task.cancel()
    for ended in await asyncio.gather(*running, return_exceptions=True):
        if isinstance(ended, Begun):
            await ended.aclose()
