"""What the gateway's core needs from outside: providers, lists of models, the ledger."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, Protocol

from signalbox.common.record import record
from signalbox.llm_gateway.deployments import Deployment
from signalbox.llm_gateway.records import LedgerCall

Operation = Literal["chat/completions", "embeddings"]


@record
class UpstreamRequest:
    """One attempt: ``body`` is a request in OpenAI's protocol that already names the provider's model."""

    deployment: Deployment
    operation: Operation
    body: bytes
    timeout_s: float
    """Seconds for the whole attempt, streams included."""


@record
class UpstreamAnswer:
    """A whole answer in OpenAI's protocol; header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@record
class UpstreamStream:
    """An answer whose body is read as it comes. An error answer is read with ``read``.

    Iterating may raise ProviderTimeout and ProviderBroke.
    """

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]

    async def read(self) -> bytes:
        """The rest of the body at once."""
        return b"".join([chunk async for chunk in self.chunks])


class Upstream(Protocol):
    """A kind of provider. Both calls may raise ProviderUnreachable, ProviderTimeout, ProviderBroke, BadDeployment."""

    async def send(self, request: UpstreamRequest) -> UpstreamAnswer:
        """One attempt, answered whole; a provider's error is an answer too. Cancelling stops the provider."""
        ...

    def stream(self, request: UpstreamRequest) -> AbstractAsyncContextManager[UpstreamStream]:
        """One attempt, entered at the answer's head; leaving it early stops the provider."""
        ...


class ModelSource(Protocol):
    """A server that can be asked which models it has."""

    @property
    def name(self) -> str:
        """How sentences call it."""
        ...

    async def deployments(self) -> list[Deployment]:
        """What it offers now, best first.

        Raises:
            ProviderUnreachable: it does not answer, or not with a list of models.
        """
        ...


class JsonFetch(Protocol):
    """Small JSON calls to a provider's own address."""

    async def fetch(
        self, url: str, *, headers: Mapping[str, str] | None = None, body: Any = None, timeout_s: float = 2.0
    ) -> Any:
        """The JSON answer of a GET, or of a POST of ``body``.

        Raises:
            ProviderUnreachable: no answer in time, or none of status 200 in JSON.
        """
        ...


class Ledger(Protocol):
    """Keeps one row per call, exactly once."""

    def record(self, call: LedgerCall) -> None:
        """Take a finished call; it is durable soon after, and at the latest when the process ends in order."""
        ...

    async def admit(self) -> None:
        """Wait shortly for room.

        Raises:
            LedgerFull: too many rows wait for the database.
        """
        ...
