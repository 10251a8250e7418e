"""Providers that speak OpenAI's protocol: bytes go out and come back as they are."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from signalbox.common.transport.wire import (
    Answer,
    AnswerTooLarge,
    BadAddress,
    BadHeader,
    ConnectTimeout,
    WireError,
)
from signalbox.llm_gateway.deployments import Credentials
from signalbox.llm_gateway.errors import (
    BadDeployment,
    ProviderBroke,
    ProviderSilent,
    ProviderTimeout,
    ProviderUnreachable,
)
from signalbox.llm_gateway.ports import UpstreamAnswer, UpstreamRequest, UpstreamStream
from signalbox.llm_gateway.upstreams.http import ProviderHttp

MAX_ANSWER_BYTES = 64 * 1024 * 1024


class CompatibleUpstream:
    """Calls OpenAI-compatible servers. One attempt is one HTTP request; nothing is repeated here."""

    def __init__(self, http: ProviderHttp, credentials: Credentials) -> None:
        self._http = http
        self._credentials = credentials

    async def send(self, request: UpstreamRequest) -> UpstreamAnswer:
        """See ``ports.Upstream``."""
        until = asyncio.get_running_loop().time() + request.timeout_s
        answer: Answer | None = None
        try:
            answer = await self._open(request, until)
            body = await answer.read(until, MAX_ANSWER_BYTES)
        except TimeoutError as error:
            raise _timed_out(request, f"did not answer within {request.timeout_s:g} s") from error
        except AnswerTooLarge as error:
            raise ProviderBroke(f"'{request.deployment.name}' answered {error}.") from error
        except WireError as error:
            raise _broke(request) from error
        finally:
            if answer is not None:
                answer.close()
        return UpstreamAnswer(answer.status, answer.headers, body)

    @asynccontextmanager
    async def stream(self, request: UpstreamRequest) -> AsyncIterator[UpstreamStream]:
        """See ``ports.Upstream``."""
        now = asyncio.get_running_loop().time()
        end = now + request.timeout_s
        first = min(end, now + (request.deployment.first_token_timeout_s or request.timeout_s))
        try:
            answer = await self._open(request, first)
        except TimeoutError as error:
            raise _timed_out(request, "did not begin its answer in time") from error
        try:
            yield UpstreamStream(answer.status, answer.headers, _chunks(answer, request, first, end))
        finally:
            # Before the end of the body this closes the connection, which is how the provider learns of it.
            answer.close()

    async def _open(self, request: UpstreamRequest, until: float) -> Answer:
        """The answer's head; raises TimeoutError when it does not come in time."""
        deployment = request.deployment
        headers = {"content-type": "application/json"}
        if deployment.headers:
            own = await self._credentials.headers(deployment)
            headers |= {name.lower(): value for name, value in own.items()}
        key = None if deployment.key is None else await self._credentials.key(deployment)
        if key is not None:
            headers["authorization"] = f"Bearer {key.reveal()}"
        try:
            return await self._http.client.send(
                "POST",
                f"{deployment.url}/{request.operation}",
                headers=headers,
                body=request.body,
                until=until,
            )
        except ConnectTimeout as error:
            raise ProviderSilent(f"'{deployment.name}' does not accept a connection in time.") from error
        except WireError as error:
            raise ProviderUnreachable(
                f"'{deployment.name}' cannot be reached ({error}); try again, or another model."
            ) from error
        except (BadAddress, BadHeader) as error:
            raise BadDeployment(f"Deployment '{deployment.name}' cannot be called: {error}.") from error


async def _chunks(answer: Answer, request: UpstreamRequest, first: float, end: float) -> AsyncIterator[bytes]:
    clock = asyncio.get_running_loop().time
    stall_s = request.deployment.stall_timeout_s
    until = first
    try:
        while chunk := await answer.chunk(until):
            yield chunk
            until = min(end, clock() + stall_s)
    except TimeoutError as error:
        raise _timed_out(request, "stopped sending") from error
    except WireError as error:
        raise _broke(request) from error


def _timed_out(request: UpstreamRequest, what: str) -> ProviderTimeout:
    return ProviderTimeout(f"'{request.deployment.name}' {what}; allow more time, or try another model.")


def _broke(request: UpstreamRequest) -> ProviderBroke:
    return ProviderBroke(f"'{request.deployment.name}' broke off its answer; try again.")
