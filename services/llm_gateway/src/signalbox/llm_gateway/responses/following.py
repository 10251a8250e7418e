"""The events of a background response, from its log, while and after it is made, on any replica."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from typing import Any

import orjson

from signalbox.llm_gateway.responses.background import BackgroundResponses
from signalbox.llm_gateway.responses.events import TERMINAL, error_event, last_events, written, written_json
from signalbox.llm_gateway.responses.keeping import not_found
from signalbox.llm_gateway.responses.records import ResponseKey
from signalbox.llm_gateway.responses.repository import ResponseRepository

Json = dict[str, Any]

_POLL_S = 0.2
"""How often the log is read of a response that another process works on."""

_COMMENT_S = 15.0
"""After how much silence a comment keeps the line open."""

_LAST_EVENTS = TERMINAL - {"error"}


class FollowedResponse:
    """The bytes of the event stream of a response, from the event behind the number ``after`` on.

    A response that others ended (cancelled, its process died) gets its last events from its row, with the numbers that
    follow those of the log: the same whenever they are read.
    """

    headers: Mapping[str, str] = {}

    def __init__(
        self,
        key: ResponseKey,
        after: int,
        repository: ResponseRepository,
        background: BackgroundResponses,
        clock: Callable[[], int],
    ) -> None:
        self._key = key
        self._after = after
        self._repository = repository
        self._background = background
        self._clock = clock
        self._last = -1
        self._ended = False
        self._events = self._follow()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._events

    async def aclose(self) -> None:
        """Stop following; the response goes on."""
        await self._events.aclose()

    async def _follow(self) -> AsyncGenerator[bytes, None]:
        silent = 0.0
        while True:
            # What comes after the event was taken is not missed, and a log that was over before it was read is whole.
            changed = self._background.changed(self._key)
            state = await self._repository.state(self._key, self._clock())
            events = await self._logged()
            if events:
                silent = 0.0
                yield events
            if self._ended:
                return
            if state is None or state[1]:
                yield await self._rest()
                return
            silent += await _waited(changed)
            if silent >= _COMMENT_S:
                silent = 0.0
                yield b": still working\n\n"

    async def _logged(self) -> bytes:
        pieces = []
        for batch in await self._repository.events(self._key, max(self._last, self._after)):
            for number, data in batch.after(max(self._last, self._after)):
                kind = orjson.loads(data)["type"]
                pieces.append(written_json(kind, data))
                self._last = number
                self._ended |= kind in _LAST_EVENTS
        return b"".join(pieces)

    async def _rest(self) -> bytes:
        """The last events of a response whose log does not have them."""
        stored = await self._repository.find(self._key, self._clock())
        if stored is None:
            return written(error_event(not_found(self._key)), self._last + 1)
        log = [event for batch in await self._repository.events(self._key, -1) for event in batch.after(-1)]
        number, event = log[-1] if log else (-1, b"{}")
        if orjson.loads(event).get("type") in _LAST_EVENTS:
            return b""
        numbered = enumerate(last_events(stored.body()), number + 1)
        return b"".join(written(event, number) for number, event in numbered if number > self._after)


async def _waited(changed: asyncio.Event | None) -> float:
    """Seconds waited until there may be more to read."""
    if changed is None:
        await asyncio.sleep(_POLL_S)
        return _POLL_S
    try:
        async with asyncio.timeout(_COMMENT_S):
            await changed.wait()
    except TimeoutError:
        return _COMMENT_S
    return 0.0
