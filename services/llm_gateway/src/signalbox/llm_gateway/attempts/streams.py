"""One attempt at a streamed answer, begun when the first piece of the answer itself has come."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

from signalbox.common.errors import SignalboxError
from signalbox.llm_gateway.accounting import AttemptAccount
from signalbox.llm_gateway.attempts.whole import Providers, close_failed
from signalbox.llm_gateway.call import Call
from signalbox.llm_gateway.deployments import Deployment
from signalbox.llm_gateway.errors import ProviderTimeout
from signalbox.llm_gateway.protocol import EventBlocks, provider_error
from signalbox.llm_gateway.relay import StreamRelay, pass_all_on

_DRAIN_S = 0.2
"""How long a provider's connection is read on after ``[DONE]``, so that it can be used again."""

MakeRelay = Callable[[AttemptAccount], StreamRelay]


class OpenStream:
    """A provider's stream, of which ``held`` is what the client gets first."""

    def __init__(self, chunks: AsyncIterator[bytes], relay: StreamRelay, attempt: AttemptAccount) -> None:
        self.relay = relay
        self.attempt = attempt
        self.held = b""
        self._chunks = chunks
        self._blocks = EventBlocks()
        self._failure: SignalboxError | None = None
        self._resources = AsyncExitStack()

    async def piece(self) -> bytes:
        """What the client gets next, as much as there is; never empty, unless the answer was given out whole.

        Raises:
            ProviderRefused, ProviderBroke, ProviderTimeout: the stream has ended before the answer had.
        """
        relay = self.relay
        while not relay.done:
            if self._failure is not None:
                raise self._failure
            chunk = await anext(self._chunks, None)
            if chunk is None:
                rest = self._blocks.rest()
                return (relay.pass_on(rest + b"\n\n") if rest.strip() else b"") + relay.end()
            passed, self._failure = pass_all_on(relay, self._blocks.feed(chunk))
            if passed:
                return passed
        return b""

    async def begin(self, resources: AsyncExitStack) -> None:
        """Read until the answer itself has begun; a role and empty pieces are none of it. Raises as ``piece`` does."""
        held = []
        while not self.relay.began:
            held.append(await self.piece())
        self.held = b"".join(held)
        self._resources = resources.pop_all()

    async def drain(self) -> None:
        """Read what a provider sends after its last event."""
        try:
            async with asyncio.timeout(_DRAIN_S):
                async for _ in self._chunks:
                    pass
        except (TimeoutError, SignalboxError):
            return

    async def aclose(self) -> None:
        """Stop the provider; without effect when done before."""
        await self._resources.aclose()


async def open_stream(
    providers: Providers, call: Call, deployment: Deployment, sent: bytes, make_relay: MakeRelay
) -> OpenStream:
    """The stream that answers ``sent``, begun. Raises what the provider's side fails with."""
    request, attempt = await providers.begin(call, deployment, sent)
    try:
        async with AsyncExitStack() as stack, asyncio.timeout(deployment.first_token_timeout_s):
            stream = await stack.enter_async_context(providers.upstreams[deployment.kind].stream(request))
            if stream.status != 200:
                raise provider_error(stream.status, stream.headers, await stream.read(), deployment.name)
            opened = OpenStream(aiter(stream.chunks), make_relay(attempt), attempt)
            await opened.begin(stack)
            return opened
    except TimeoutError as error:
        late = ProviderTimeout(f"'{deployment.name}' did not begin its answer in time; try another model.")
        close_failed(attempt, late)
        raise late from error
    except SignalboxError as error:
        close_failed(attempt, error)
        raise
