"""Who in this process waits for what."""

import asyncio


class Wakeups:
    """Wakes coroutines when something happens on their channel."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = {}

    def join(self, channel: str) -> tuple[asyncio.Event, bool]:
        """A new event for the channel, and whether it is the first one there."""
        event = asyncio.Event()
        waiting = self._waiting.setdefault(channel, set())
        waiting.add(event)
        return event, len(waiting) == 1

    def leave(self, channel: str, event: asyncio.Event) -> bool:
        """Forget the event; true when nobody waits on the channel anymore."""
        waiting = self._waiting.get(channel)
        if waiting is None:
            return False
        waiting.discard(event)
        if waiting:
            return False
        del self._waiting[channel]
        return True

    def wake(self, channel: str) -> None:
        """Set every event of a channel."""
        for event in self._waiting.get(channel, ()):
            event.set()

    def wake_all(self) -> None:
        """Set and forget every event: whoever waits looks for himself and joins anew."""
        waiting, self._waiting = self._waiting, {}
        for events in waiting.values():
            for event in events:
                event.set()
