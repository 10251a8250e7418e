"""Responses that go on without their client.

The process that took the request works on it and is the row's owner. Whoever ends a response (its owner, a client that
cancels or deletes it, a process that finds the owner silent) takes the row from its owner by compare-and-set, so there
is one end; an owner that has lost its row stops the model.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

import orjson

from signalbox.common.errors import SignalboxError, Unavailable
from signalbox.common.ids import new_id, now_ms
from signalbox.common.storage import DuplicateKey
from signalbox.llm_gateway.answers import StreamedAnswer, WholeAnswer
from signalbox.llm_gateway.call import Caller
from signalbox.llm_gateway.errors import BackgroundFull, ProviderBroke, ResponseInterrupted
from signalbox.llm_gateway.responses.asking import Asking
from signalbox.llm_gateway.responses.chat_chunks import chat_chunks
from signalbox.llm_gateway.responses.events import ResponseEvents, last_events, opening_events
from signalbox.llm_gateway.responses.keeping import KeptResponses
from signalbox.llm_gateway.responses.records import EventBatch, ResponseKey, StoredResponse, batch_of
from signalbox.llm_gateway.responses.repository import ResponseRepository
from signalbox.llm_gateway.responses.request import ResponsesRequest
from signalbox.llm_gateway.responses.resource import OVER, opened

Json = dict[str, Any]

_LOG = logging.getLogger(__name__)

GATHER_S = 0.1
"""How long events gather before they are written to the log."""

_LAST_WORDS_S = 2.0
"""How long a process that stops takes to say which responses it leaves."""

_RETRY_S = (0.1, 0.5, 1.0, 2.0)


class _Lost(Exception):
    """The row has another owner, or none."""


class EventLog:
    """Writes the events of one response in batches, in the row's log.

    ``changed`` is set whenever more can be read, and is another event from then on.
    """

    def __init__(self, repository: ResponseRepository, stored: StoredResponse, next_number: int) -> None:
        self.changed = asyncio.Event()
        self._repository = repository
        self._stored = stored
        self._next = next_number
        self._waiting: list[Json] = []
        self._came = asyncio.Event()
        self._closing = asyncio.Event()

    def add(self, events: Iterable[Json]) -> None:
        """Take events; a delta that continues the one before it becomes part of it."""
        for event in events:
            if self._waiting and (merged := _merged(self._waiting[-1], event)) is not None:
                self._waiting[-1] = merged
            else:
                self._waiting.append(event)
        if self._waiting:
            self._came.set()

    async def write(self) -> None:
        """Write what comes, until it is closed.

        Raises:
            _Lost: the response is not this process's any more.
        """
        while not self._closing.is_set():
            await self._came.wait()
            await self._gather()
            self._came.clear()
            batch = self._take()
            if batch is not None and not await self._store(batch):
                raise _Lost

    def close(self) -> None:
        """Let ``write`` return as soon as what it has begun is written."""
        self._closing.set()
        self._came.set()

    async def end(self, response: Json, events: Iterable[Json]) -> None:
        """Write the rest with the end of the response, as one."""
        self.add(events)
        batch = self._take()
        body = orjson.dumps(response).decode()
        for pause in _pauses():
            try:
                await self._repository.finish(self._stored, now_ms(), response["status"], body, batch)
                break
            except Unavailable:
                await asyncio.sleep(pause)
        self.tell()

    async def _gather(self) -> None:
        try:
            async with asyncio.timeout(GATHER_S):
                await self._closing.wait()
        except TimeoutError:
            return

    async def _store(self, batch: EventBatch) -> bool:
        for pause in _pauses():
            try:
                owned = await self._repository.progress(self._stored, now_ms(), batch)
            except Unavailable:
                await asyncio.sleep(pause)
                continue
            except DuplicateKey:
                owned = True  # it was written when its outcome was not known
            self.tell()
            return owned
        raise AssertionError  # pauses never end

    def _take(self) -> EventBatch | None:
        events, self._waiting = self._waiting, []
        if not events:
            return None
        batch = batch_of(self._next, events)
        self._next = batch.last + 1
        return batch

    def tell(self) -> None:
        """Wake those who wait for more."""
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()


class BackgroundRun:
    """One background response in the making."""

    def __init__(
        self, stored: StoredResponse, request: ResponsesRequest, context: list[Json], log: EventLog
    ) -> None:
        self.key = stored.key
        self.log = log
        self._request = request
        self._context = context
        prompt = request.chat([*context, *request.items], stream=True).fields
        response = {**stored.body(), "status": "in_progress"}
        self._events = ResponseEvents(response, request, prompt)
        self._ended = False

    async def work(self, asking: Asking, caller: Caller) -> None:
        """Make the response and write its end, unless it is another's by then."""
        self.log.add([{"type": "response.in_progress", "response": self._events.response}])
        writer = asyncio.create_task(self.log.write())
        maker = asyncio.create_task(self._make(asking, caller))
        try:
            await asyncio.wait({writer, maker}, return_when=asyncio.FIRST_COMPLETED)
            if not maker.done():
                await writer  # raises: it does not end before it is closed
            error = maker.result()
            self.log.close()
            await writer
            await self._end(error)
        except _Lost:
            _LOG.info("a background response was ended by others: %s", self.key.response_id)
        finally:
            for task in (maker, writer):
                task.cancel()
            await asyncio.gather(maker, writer, return_exceptions=True)

    async def interrupt(self) -> None:
        """Write the end now that the process stops: that the answer is not whole, unless it is.

        Without effect on one whose end was begun to be written.
        """
        error = None
        if self._events.response["status"] not in OVER:
            error = ResponseInterrupted(
                "The gateway was stopped before the answer was whole; create the response again."
            )
            self._events.fail(error)
        await self._end(error)

    async def _end(self, error: SignalboxError | None) -> None:
        if not self._ended:
            self._ended = True
            await self.log.end(self._events.response, last_events(self._events.response, error))

    async def _make(self, asking: Asking, caller: Caller) -> SignalboxError | None:
        try:
            answer = await asking.ask(self._request, self._context, caller, stream=True)
            async with _stream_of(answer) as stream:
                async for chunks in chat_chunks(stream):
                    for chunk in chunks:
                        self.log.add(self._events.chunk(chunk))
            self.log.add(self._events.end())
        except SignalboxError as error:
            self._events.fail(error)
            return error
        except Exception:  # noqa: BLE001 - a bug: nobody waits for this task, and the response must have an end
            _LOG.exception("a background response failed")
            defect = SignalboxError("Something went wrong on our side; create the response again.")
            self._events.fail(defect)
            return defect
        return None


class BackgroundResponses:
    """The background responses that this process, the ``owner``, works on."""

    def __init__(
        self,
        owner: str,
        repository: ResponseRepository,
        kept: KeptResponses,
        asking: Asking,
        *,
        at_most: int,
        grace_s: float,
    ) -> None:
        self.owner = owner
        self._repository = repository
        self._kept = kept
        self._asking = asking
        self._at_most = at_most
        self._grace_s = grace_s
        self._starting = 0
        self._runs: dict[str, tuple[BackgroundRun, asyncio.Task[None]]] = {}

    async def start(self, request: ResponsesRequest, context: list[Json], caller: Caller) -> StoredResponse:
        """Keep a response as queued and begin to work on it.

        Raises:
            BackgroundFull: the process works on as many as it may.
        """
        if len(self._runs) + self._starting >= self._at_most:
            raise BackgroundFull(
                f"{self._at_most} background responses are running; try again shortly.",
                headers={"Retry-After": "5"},
            )
        response = opened(new_id("resp"), request, "queued")
        stored = self._kept.record(caller.principal, request, response, self.owner)
        opening = batch_of(0, list(opening_events(response)))
        self._starting += 1
        try:
            await self._repository.add(stored, opening)
        finally:
            self._starting -= 1
        run = BackgroundRun(
            stored, request, context, EventLog(self._repository, stored, next_number=opening.last + 1)
        )
        task = asyncio.create_task(run.work(self._asking, caller), name=f"response {stored.response_id}")
        self._runs[stored.response_id] = (run, task)
        task.add_done_callback(lambda done: self._forget(run, done))
        return stored

    def _forget(self, run: BackgroundRun, task: asyncio.Task[None]) -> None:
        self._runs.pop(run.key.response_id, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Without its words, which may quote what was said. Nobody speaks for the row now: it goes stale and fails.
            _LOG.error("a background response could not be written: %s", type(error).__name__)
        run.log.tell()  # those who follow it look whether it has ended

    def running(self) -> set[str]:
        """The ids of the responses that are being made."""
        return set(self._runs)

    def changed(self, key: ResponseKey) -> asyncio.Event | None:
        """An event that is set when more of a response's log can be read; None where others work on it."""
        found = self._runs.get(key.response_id)
        return found[0].log.changed if found is not None and found[0].key == key else None

    def drop(self, response_id: str) -> None:
        """Stop working on a response that is not this process's any more."""
        found = self._runs.get(response_id)
        if found is not None:
            found[1].cancel()

    async def stop(self) -> None:
        """Wait shortly for what is being made; the rest has failed, and is said to."""
        left = dict(self._runs)
        if left:
            await asyncio.wait([task for _, task in left.values()], timeout=self._grace_s)
        unfinished = [(run, task) for run, task in left.values() if not task.done()]
        for _, task in unfinished:
            task.cancel()
        await asyncio.gather(*(task for _, task in unfinished), return_exceptions=True)
        try:
            async with asyncio.timeout(_LAST_WORDS_S):
                await asyncio.gather(*(run.interrupt() for run, _ in unfinished))
        except TimeoutError:
            _LOG.warning("the database is away: %d interrupted response(s) end later", len(unfinished))


def _stream_of(answer: WholeAnswer | StreamedAnswer) -> StreamedAnswer:
    if isinstance(answer, StreamedAnswer):
        return answer
    raise ProviderBroke("The answer came whole where a stream was asked for; try again.")


def _merged(before: Json, event: Json) -> Json | None:
    """Two deltas of the same text in one; None when they are not."""
    if "delta" not in event or "delta" not in before:
        return None
    if {**before, "delta": "", "logprobs": []} != {**event, "delta": "", "logprobs": []}:
        return None
    merged = {**before, "delta": before["delta"] + event["delta"]}
    if "logprobs" in before:
        merged["logprobs"] = [*before["logprobs"], *event["logprobs"]]
    return merged


def _pauses() -> Iterable[float]:
    yield from _RETRY_S
    while True:
        yield _RETRY_S[-1]
