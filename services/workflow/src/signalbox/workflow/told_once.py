"""Events of a run that is called again after a break: what the client has been told is not told again.

Tool calls have ids. Text has none: a run that goes on begins with the answer that was under way, or with an earlier
one, or with all that it has said, depending on what was stored of it. Each of these begins a paragraph of what was
said, so the new text is compared with what was said from each of its paragraphs on, and passed on from where it goes
beyond. While it is a repetition it is held back. A model that now says something else is heard as a new paragraph.
"""

from collections.abc import Awaitable, Callable

from signalbox.contracts.events import TextData, TextEvent, ToolCallEvent, ToolResultEvent, TurnEvent

_PARAGRAPH = "\n\n"


class ToldOnce:
    """Passes events of the attempts at one run on, each once."""

    def __init__(self, emit: Callable[[TurnEvent], Awaitable[None]]) -> None:
        self._emit = emit
        self._told: set[tuple[str, str]] = set()
        self._said = ""
        self._held = ""
        self._open: list[str] = []
        """Ends of what was said that the held text may be repeating, the longest first."""

    def again(self) -> None:
        """The next attempt begins. What is held back of the last one was never told."""
        self._held = ""
        ends = [self._said]
        while (at := ends[-1].find(_PARAGRAPH)) >= 0:
            ends.append(ends[-1][at + len(_PARAGRAPH) :])
        self._open = [end for end in ends if end]

    async def __call__(self, event: TurnEvent) -> None:
        """Pass an event on, unless it was told."""
        if isinstance(event, TextEvent):
            await self._say(event.data.delta)
            return
        if isinstance(event, ToolCallEvent | ToolResultEvent):
            name = (event.type, event.data.call_id)
            if name in self._told:
                return
            self._told.add(name)
            # The run does something new, so whatever follows is not a repetition.
            await self.ended()
        await self._emit(event)

    async def ended(self) -> None:
        """No more is coming that could show what the held text is: pass on what of it is new."""
        if self._open:
            repeated = next((end for end in self._open if self._held.startswith(end)), None)
            new = "" if repeated is None else self._held[len(repeated) :]
            await self._go_on(new)

    async def _say(self, text: str) -> None:
        if not self._open:
            await self._go_on(text)
            return
        self._held += text
        held = self._held
        self._open = [end for end in self._open if end.startswith(held) or held.startswith(end)]
        if not self._open:
            await self._go_on(_PARAGRAPH + held)
        elif not any(len(end) > len(held) for end in self._open):
            await self._go_on(held[len(self._open[0]) :])

    async def _go_on(self, text: str) -> None:
        """Pass new text on, and hold nothing back from here on."""
        self._held, self._open = "", []
        if text:
            self._said += text
            await self._emit(TextEvent(data=TextData(delta=text)))
