"""The event log of one turn: numbers events, merges text, and lets any replica follow it."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import orjson
from pydantic import TypeAdapter

from signalbox.common.cache import EventLogs, key
from signalbox.common.errors import Unavailable
from signalbox.common.sensitive import masked
from signalbox.contracts.base import WireModel
from signalbox.contracts.events import (
    CompleteEvent,
    ErrorEvent,
    TextData,
    TextEvent,
    TurnEvent,
    UsageData,
    UsageEvent,
)

_EVENT: TypeAdapter[TurnEvent] = TypeAdapter(TurnEvent)

LAST_EVENTS = frozenset({"complete", "error"})
_MAX_KEPT_OUTPUT = 4_096


class TurnLog:
    """The events of a turn that is running here.

    With ``logs`` each event is in the shared log before a subscriber sees it; without, events stay in memory
    (a turn whose client waits for the reply alone has nobody to follow it).
    """

    def __init__(
        self,
        tenant: str,
        turn_id: str,
        logs: EventLogs | None = None,
        *,
        ttl_ms: int = 120_000,
        merge_ms: int = 30,
    ) -> None:
        self._logs = logs
        self._name = log_name(tenant, turn_id)
        self._ttl_ms = ttl_ms
        self._merge_s = merge_ms / 1000
        self._events: list[tuple[int, bytes]] = []
        self._kept: list[TurnEvent] = []
        self._unsent: list[bytes] = []
        self._text: list[str] = []
        self._flush_timer: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()
        self._grown = asyncio.Event()
        self.closed = False
        self.cancel_when_left = False
        """Whether the turn is to stop when its reader leaves; its workflow's policy says so."""

    @property
    def shared(self) -> bool:
        """Whether somebody may read the events while the turn runs."""
        return self._logs is not None

    @property
    def empty(self) -> bool:
        """Whether there was no event yet."""
        return not self._kept

    def restart(self) -> bool:
        """Forget the events of an attempt that begins anew; false when more than ``start`` may have been read."""
        if self.shared:
            return len(self._kept) <= 1 and not self._text
        self._events.clear()
        self._kept.clear()
        return True

    async def emit(self, event: TurnEvent) -> None:
        """Add an event. Text is held back for a moment, so that what follows at once is sent with it."""
        if isinstance(event, TextEvent) and self._logs is not None:
            self._text.append(event.data.delta)
            if self._flush_timer is None:
                self._flush_timer = asyncio.create_task(self._flush_later())
            return
        async with self._lock:
            await self._flush()
            await self._append(event)

    def events_to_keep(self, sensitive: Mapping[str, frozenset[str]]) -> str:
        """The events so far as they are stored with the turn: text merged, large values cut.

        ``sensitive`` names, by tool, the arguments whose values are masked, also where a result repeats them.
        """
        held_back = [TextEvent(data=TextData(delta="".join(self._text)))] if self._text else []
        kept = [_kept_form(event, sensitive) for event in _merged([*self._kept, *held_back])]
        return orjson.dumps(kept).decode()

    def usage(self) -> list[UsageData]:
        """What models were paid for so far."""
        return [event.data for event in self._kept if isinstance(event, UsageEvent)]

    async def follow(self) -> AsyncGenerator[tuple[int, bytes], None]:
        """All events from the first on, as they come, until the last one."""
        sent = 0
        while True:
            while sent < len(self._events):
                yield self._events[sent]
                sent += 1
            if self.closed:
                return
            self._grown.clear()
            await self._grown.wait()

    async def _flush_later(self) -> None:
        await asyncio.sleep(self._merge_s)
        async with self._lock:
            self._flush_timer = None
            await self._flush()

    async def _flush(self) -> None:
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None
        if self._text:
            merged, self._text = "".join(self._text), []
            await self._append(TextEvent(data=TextData(delta=merged)))

    async def _append(self, event: TurnEvent) -> None:
        number = len(self._events) + 1
        rendered = event.model_dump_json(exclude_none=True).encode() if self._logs is not None else b""
        self._kept.append(event)
        try:
            if self._logs is not None:
                await self._share(self._logs, number, rendered)
        finally:
            # Also when cancelled: the number is taken, and what comes next must have another.
            self._events.append((number, rendered))
            if isinstance(event, CompleteEvent | ErrorEvent):
                self.closed = True
            self._grown.set()

    async def _share(self, logs: EventLogs, number: int, rendered: bytes) -> None:
        """Send an event, and before it those that could not be sent: the log has no gap where it goes on."""
        self._unsent.append(rendered)
        with suppress(Unavailable):
            # The live stream goes on without the log; only resuming it elsewhere has to wait.
            await logs.append(self._name, number - len(self._unsent) + 1, tuple(self._unsent), self._ttl_ms)
            self._unsent.clear()


def log_name(tenant: str, turn_id: str) -> str:
    """Where the events of a turn are, in the cache."""
    return key("turn-events", tenant, turn_id)


def parse_event(raw: bytes) -> TurnEvent:
    """An event as the log has it."""
    return _EVENT.validate_json(raw)


def _merged(events: Sequence[TurnEvent]) -> list[TurnEvent]:
    merged: list[TurnEvent] = []
    for event in events:
        last = merged[-1] if merged else None
        if isinstance(event, TextEvent) and isinstance(last, TextEvent):
            merged[-1] = TextEvent(data=TextData(delta=last.data.delta + event.data.delta))
        else:
            merged.append(event)
    return merged


def _kept_form(event: WireModel, sensitive: Mapping[str, frozenset[str]]) -> dict[str, Any]:
    kept = event.model_dump(mode="json", exclude_none=True)
    data = kept["data"]
    target = data.get("target") or {}
    tool = target.get("id", "") if target.get("kind") == "tool" else data.get("tool", "")
    secret = sensitive.get(tool, frozenset())
    if secret:
        for member in ("arguments", "output", "parameters"):
            if member in data:
                data[member] = masked(data[member], secret)
    output = data.get("output")
    if output is not None and len(orjson.dumps(output)) > _MAX_KEPT_OUTPUT:
        data["output"] = f"({len(orjson.dumps(output))} bytes, not kept)"
    return kept
