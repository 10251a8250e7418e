"""Providers that speak OpenAI's protocol: bytes go out and come back as they are."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from signalbox.llm_gateway.deployments import Credentials
from signalbox.llm_gateway.errors import ProviderBroke, ProviderTimeout, ProviderUnreachable
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
        try:
            async with asyncio.timeout(request.timeout_s):
                response = await self._open(request)
                try:
                    body = await _read(response, request)
                finally:
                    response.release()
        except TimeoutError as error:
            raise _timed_out(request, f"did not answer within {request.timeout_s:g} s") from error
        return UpstreamAnswer(response.status, _headers(response), body)

    @asynccontextmanager
    async def stream(self, request: UpstreamRequest) -> AsyncIterator[UpstreamStream]:
        """See ``ports.Upstream``."""
        deployment = request.deployment
        clock = asyncio.get_running_loop().time
        end = clock() + request.timeout_s
        first = min(end, clock() + (deployment.first_token_timeout_s or request.timeout_s))
        try:
            async with asyncio.timeout_at(first):
                response = await self._open(request)
        except TimeoutError as error:
            raise _timed_out(request, "did not begin its answer in time") from error
        try:
            yield UpstreamStream(response.status, _headers(response), _chunks(response, request, first, end))
        finally:
            # Closing before the end of the body closes the connection, which is how the provider learns of it.
            response.close()

    async def _open(self, request: UpstreamRequest) -> aiohttp.ClientResponse:
        deployment = request.deployment
        headers = {"content-type": "application/json", **(await self._credentials.headers(deployment))}
        key = await self._credentials.key(deployment)
        if key is not None:
            headers["authorization"] = f"Bearer {key.reveal()}"
        try:
            return await self._http.session().post(
                f"{deployment.url}/{request.operation}",
                data=request.body,
                headers=headers,
                allow_redirects=False,
            )
        except aiohttp.ConnectionTimeoutError as error:
            raise ProviderUnreachable(f"'{deployment.name}' does not accept a connection in time.") from error
        except (aiohttp.ClientError, ConnectionError) as error:
            raise ProviderUnreachable(
                f"'{deployment.name}' cannot be reached ({type(error).__name__}); try again, or another model."
            ) from error


async def _read(response: aiohttp.ClientResponse, request: UpstreamRequest) -> bytes:
    body = bytearray()
    try:
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                response.close()
                raise ProviderBroke(
                    f"'{request.deployment.name}' answered more than {MAX_ANSWER_BYTES} bytes."
                )
    except (aiohttp.ClientError, ConnectionError) as error:
        raise _broke(request) from error
    return bytes(body)


async def _chunks(
    response: aiohttp.ClientResponse, request: UpstreamRequest, first: float, end: float
) -> AsyncIterator[bytes]:
    clock = asyncio.get_running_loop().time
    limit = first
    while True:
        try:
            async with asyncio.timeout_at(limit):
                chunk = await response.content.readany()
        except TimeoutError as error:
            raise _timed_out(request, "stopped sending") from error
        except (aiohttp.ClientError, ConnectionError) as error:
            # aiohttp raises before it gives out what came before the break; the client is to have it.
            rest = response.content._read_nowait(-1)  # noqa: SLF001
            if rest:
                yield rest
            raise _broke(request) from error
        if not chunk:
            return
        yield chunk
        limit = min(end, clock() + request.deployment.stall_timeout_s)


def _headers(response: aiohttp.ClientResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


def _timed_out(request: UpstreamRequest, what: str) -> ProviderTimeout:
    return ProviderTimeout(f"'{request.deployment.name}' {what}; allow more time, or try another model.")


def _broke(request: UpstreamRequest) -> ProviderBroke:
    return ProviderBroke(f"'{request.deployment.name}' broke off its answer; try again.")
