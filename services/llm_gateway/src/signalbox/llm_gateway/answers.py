"""What a model call gives back: a whole answer, or a stream that is closed wherever it ends."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Protocol, Self

from signalbox.common.record import record
from signalbox.llm_gateway.accounting import CallAccount


@record
class WholeAnswer:
    """Body and headers of a 200 answer."""

    body: bytes
    headers: Mapping[str, str]


class ByteStream(Protocol):
    """A streamed answer, also one that was translated into another protocol."""

    headers: Mapping[str, str]

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The bytes as they come."""
        ...

    async def aclose(self) -> None:
        """Stop; must be called, also when nothing was read."""
        ...


class StreamedAnswer:
    """The bytes of an event stream, as they come.

    ``aclose`` must be called, also when nothing was read: it stops the provider and writes the ledger row of a
    client that has left.
    """

    def __init__(
        self,
        chunks: AsyncGenerator[bytes, None],
        headers: Mapping[str, str],
        account: CallAccount,
        resources: AsyncExitStack,
    ) -> None:
        self.headers = headers
        self._chunks = chunks
        self._account = account
        self._resources = resources

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._chunks

    async def aclose(self) -> None:
        """Stop; without effect on a stream that is over."""
        try:
            await self._chunks.aclose()
        finally:
            self._account.abort()
            await self._resources.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
