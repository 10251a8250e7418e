"""Identical calls that are under way at a time, made once.

The first one's call goes to a provider in a task of its own, on that call's account, and goes on as long as anybody
listens; the others listen too. It is shared within a process: replicas share answers that are kept, and no calls.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TypeVar

from signalbox.common.errors import DeadlineExceeded, SignalboxError
from signalbox.contracts import headers as names
from signalbox.llm_gateway.accounting import CallAccount
from signalbox.llm_gateway.answers import StreamedAnswer, WholeAnswer
from signalbox.llm_gateway.caching.capture import for_listener
from signalbox.llm_gateway.call import Call
from signalbox.llm_gateway.errors import ProviderBroke
from signalbox.llm_gateway.protocol import error_body

T = TypeVar("T")

Make = Callable[[Call], Awaitable[WholeAnswer | StreamedAnswer]]


class SharedCall:
    """One call at a provider, and those who listen to it.

    A stream is kept from its beginning while it comes, so that who joins late hears all of it.
    """

    def __init__(self, account: CallAccount) -> None:
        self.account = account
        self.listeners = 0
        self.size = 0
        """Bytes of stream so far."""
        self.whole: WholeAnswer | None = None
        self.head: StreamedAnswer | None = None
        self.pieces: list[bytes] = []
        self.error: BaseException | None = None
        self.over = False
        self._changed = asyncio.Event()

    async def run(self, call: Call, make: Make) -> None:
        """Make the call. What becomes of it is told to the listeners, and written to its account."""
        try:
            answer = await make(replace(call, account=self.account))
            if isinstance(answer, WholeAnswer):
                self.whole = answer
            else:
                await self._listen(answer)
        except BaseException as error:
            self.account.failed(error)
            self.error = error
            if not isinstance(error, Exception):
                raise
        finally:
            self.over = True
            self._tell()

    async def _listen(self, answer: StreamedAnswer) -> None:
        self.head = answer
        self._tell()
        async with answer:
            async for piece in answer:
                self.pieces.append(piece)
                self.size += len(piece)
                self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def begun(self) -> WholeAnswer | StreamedAnswer:
        """The whole answer, or the stream once its head is there. Raises what the call raised, each time anew."""
        while True:
            if self.error is not None and self.head is None:
                raise _again(self.error)
            answer = self.whole or self.head
            if answer is not None:
                return answer
            await self._changed.wait()

    async def followed(self) -> AsyncGenerator[bytes, None]:
        """The stream, from its beginning to its end."""
        place = 0
        while True:
            if place < len(self.pieces):
                waiting = self.pieces[place:]
                place += len(waiting)
                yield b"".join(waiting)
            elif self.error is not None:
                raise _again(self.error)
            elif self.over:
                return
            else:
                await self._changed.wait()


class SharedCalls:
    """The calls of one process that others may listen to."""

    def __init__(self) -> None:
        self._running: dict[tuple[str, bool], SharedCall] = {}
        self._tasks: dict[SharedCall, asyncio.Task[None]] = {}

    async def answer(
        self, key: str, call: Call, make: Make, *, max_bytes: int
    ) -> WholeAnswer | StreamedAnswer:
        """The answer to the call that is under way for ``key``, or to this one, made by ``make``.

        A stream that has more than ``max_bytes`` is joined by nobody else. Who only listens has no attempt, costs
        nothing, and fails when the call fails.

        Raises:
            DeadlineExceeded: the caller's time is over before the answer began.
            Whatever ``make`` raises.
        """
        name = (key, call.body.stream)
        shared = self._running.get(name)
        leads = shared is None or shared.over or shared.size > max_bytes
        if shared is None or leads:
            shared = self._running[name] = SharedCall(call.account.handed_over())
            task = asyncio.create_task(shared.run(call, make), name="shared model call")
            self._tasks[shared] = task
            task.add_done_callback(lambda _: self._forget(name, shared))
        else:
            call.account.cached = "coalesced"
        shared.listeners += 1
        listening = AsyncExitStack()
        listening.callback(self._leave, name, shared)
        try:
            answer = await _in_time(shared.begun(), call)
            if isinstance(answer, StreamedAnswer):
                chunks = _heard(shared, call, leads=leads)
                return StreamedAnswer(
                    chunks, _headers(call, answer, leads), call.account, listening.pop_all()
                )
        finally:
            await listening.aclose()
        if not leads:
            call.account.answered_from("coalesced")
        return WholeAnswer(answer.body, _headers(call, answer, leads))

    async def close(self) -> None:
        """Stop what nobody can listen to any more."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _leave(self, name: tuple[str, bool], shared: SharedCall) -> None:
        shared.listeners -= 1
        if shared.listeners == 0 and not shared.over:
            self._tasks[shared].cancel()
            self._hide(name, shared)

    def _forget(self, name: tuple[str, bool], shared: SharedCall) -> None:
        del self._tasks[shared]
        shared.account.abort()  # of a task that was stopped before it began
        self._hide(name, shared)

    def _hide(self, name: tuple[str, bool], shared: SharedCall) -> None:
        if self._running.get(name) is shared:
            del self._running[name]


async def _heard(shared: SharedCall, call: Call, *, leads: bool) -> AsyncGenerator[bytes, None]:
    """The stream as one of its listeners gets it, and the end of that one's own account."""
    account, wants_usage = call.account, call.body.wants_usage
    cost = account.cost if call.caller.is_service and not leads else None
    following = shared.followed()
    try:
        while True:
            piece = await _in_time(anext(following, None), call)
            if piece is None:
                break
            # Before the client knows that it was the end: it may leave then.
            if shared.over or shared.account.outcome is not None:
                _end_as(account, shared.account)
            passed = for_listener(piece, wants_usage=wants_usage, cost=cost, own=leads)
            if passed:
                yield passed
        _end_as(account, shared.account)
    except SignalboxError as error:
        account.fail(error)
        yield b"data: " + error_body(error)[1] + b"\n\n"
    finally:
        await following.aclose()


def _end_as(account: CallAccount, of: CallAccount) -> None:
    """End a listener's account as that of the call which was made."""
    if of.outcome == "ok":
        account.finish("ok", 200)
    else:
        account.fail(ProviderBroke("The answer that this call was listening to broke off; try again."))


async def _in_time(work: Awaitable[T], call: Call) -> T:
    """The result of ``work`` within the caller's time. Raises DeadlineExceeded."""
    deadline = call.caller.deadline
    if deadline is None:
        return await work
    try:
        async with asyncio.timeout(deadline.remaining()):
            return await work
    except TimeoutError:
        raise DeadlineExceeded(
            "No time is left for a model call; allow more with Signalbox-Timeout-Ms."
        ) from None


def _headers(call: Call, answer: WholeAnswer | StreamedAnswer, leads: bool) -> dict[str, str]:
    if leads:
        return dict(answer.headers)
    emulated = answer.headers.get(names.LLM_EMULATED)
    headers = call.headers(call.account.cost)
    if emulated is not None:
        headers[names.LLM_EMULATED] = emulated
    return {**headers, names.LLM_CACHE: "coalesced"}


def _again(error: BaseException) -> BaseException:
    """An error of its own for each listener: one that several raise gathers the frames of all."""
    if isinstance(error, asyncio.CancelledError):
        return ProviderBroke("The call that this one was listening to was stopped; try again.")
    again = type(error).__new__(type(error))
    again.args = error.args
    again.__dict__.update(error.__dict__)
    return again
