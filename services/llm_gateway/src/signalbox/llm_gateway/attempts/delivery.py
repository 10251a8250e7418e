"""A streamed answer on its way to the client, whichever deployments it comes from."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable

from signalbox.common.errors import SignalboxError
from signalbox.llm_gateway.attempts.streams import OpenStream
from signalbox.llm_gateway.attempts.whole import close_failed
from signalbox.llm_gateway.call import Call
from signalbox.llm_gateway.errors import internal_error
from signalbox.llm_gateway.protocol import DONE, error_body
from signalbox.llm_gateway.routing import Turn, Use

_LOG = logging.getLogger(__name__)

GoOn = Callable[["Begun", SignalboxError], Awaitable["Begun | None"]]


class Begun:
    """A stream that answers a call, with whose turn it is."""

    def __init__(self, stream: OpenStream, turn: Turn, use: Use) -> None:
        self.stream = stream
        self.turn = turn
        self.use = use

    async def aclose(self) -> None:
        """Stop the provider."""
        self.use.close()
        await self.stream.aclose()


class Delivery:
    """Gives the client one answer; a failure becomes its last event, never a clean end.

    ``go_on`` opens the stream that continues a broken one, or None.
    """

    def __init__(self, call: Call, begun: Begun, go_on: GoOn) -> None:
        self._call = call
        self._begun = begun
        self._go_on = go_on

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The bytes for the client."""
        account = self._call.account
        try:
            stream = self._begun.stream
            piece = stream.held
            while True:
                if stream.relay.done:
                    # Before the last piece goes out: a client that has it all may leave at once.
                    account.finish("ok", 200)
                if piece:
                    yield piece
                if stream.relay.done:
                    break
                try:
                    piece = await stream.piece()
                except SignalboxError as error:
                    piece = await self._broken(error)
                    stream = self._begun.stream
            await stream.drain()
        except SignalboxError as error:
            account.fail(error)
            yield b"data: " + error_body(error)[1] + b"\n\n"
        except (asyncio.CancelledError, GeneratorExit):
            account.abort()
            raise
        except Exception:  # noqa: BLE001 - a bug: said once where operators look; the client gets no internals
            _LOG.exception("unhandled error in a stream", extra={"call_id": account.call_id})
            whole = account.outcome == "ok"
            account.finish("error", 500, "internal_error")
            if not whole:
                yield b"data: " + error_body(internal_error())[1] + b"\n\n"

    async def aclose(self) -> None:
        """Stop the provider."""
        await self._begun.aclose()

    async def _broken(self, error: SignalboxError) -> bytes:
        """What the client gets after a break: the rest, the beginning of a continuation; else raises ``error``."""
        relay = self._begun.stream.relay
        if relay.whole:
            # Only the provider's end is missing, not the answer's.
            relay.done = True
            return DONE
        close_failed(self._begun.stream.attempt, error)
        begun = await self._go_on(self._begun, error)
        if begun is None:
            raise error
        self._begun = begun
        return begun.stream.held
