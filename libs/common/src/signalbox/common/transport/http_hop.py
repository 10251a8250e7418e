"""`ServiceHop` over HTTP/1.1, on one aiohttp session for the life of the hop (ADR 0002 says why aiohttp).

A request is repeated at most twice, with jittered backoff and never past its deadline:

- when no connection came about, always (nothing was sent), on the next base URL if there is one;
- when the connection ended before the answer began, or the answer is 502, 503 or 504: only if the request is
  idempotent. The last answer is returned as it is.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NoReturn

import aiohttp
from yarl import URL

from signalbox.common.transport.errors import HopProtocolError, HopTimeout, HopUnreachable
from signalbox.common.transport.headers import folded
from signalbox.common.transport.ports import HopRequest, HopResponse, HopStream
from signalbox.contracts.headers import TIMEOUT_MS

MAX_RETRIES = 2
RETRIED_STATUSES = frozenset({502, 503, 504})
BACKOFF_SECONDS = 0.05
"""Upper bound of the first pause; doubles at each retry. Each pause is drawn evenly below its bound."""

COOL_DOWN_SECONDS = 1.0
"""How long a base URL that refused a connection is passed over while another one is left."""

IDLE_SECONDS = 4.0
"""How long an idle connection is kept: less than uvicorn's 5 s, so that the client closes first and no
request is written to a connection that the server is just closing."""


class HttpServiceHop:
    """Calls a service at one or more base URLs, taken in turn.

    `service` names it in errors. The session is made at the first call, in the loop of that call; `aclose`
    ends it.
    """

    def __init__(
        self,
        base_urls: str | Sequence[str],
        *,
        service: str,
        connect_timeout: float = 2.0,
        max_connections: int = 1000,
    ) -> None:
        urls = [base_urls] if isinstance(base_urls, str) else list(base_urls)
        if not urls:
            raise ValueError(f"the {service} service needs at least one base URL")
        self._bases = _Bases(urls)
        self._service = service
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout)
        self._max_connections = max_connections
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def send(self, request: HopRequest) -> HopResponse:
        """One call, answered whole.

        Raises `HopUnreachable`, `HopTimeout` (deadline passed) or `HopProtocolError` (the answer broke off).
        """
        try:
            async with asyncio.timeout(request.timeout) as limit:
                response = await self._attempts(request, limit.when())
                try:
                    body = await response.read()
                except (aiohttp.ClientError, ConnectionError) as error:
                    self._raise_broken(request, error)
                finally:
                    response.release()
        except TimeoutError as error:
            raise self._timed_out(request) from error
        return HopResponse(response.status, folded(response.headers.items()), body)

    @asynccontextmanager
    async def stream(self, request: HopRequest) -> AsyncIterator[HopStream]:
        """One call whose chunks arrive as the service sends them. Leaving early closes the connection.

        Retries end where the answer's head begins; the deadline holds to the last chunk.
        """
        try:
            async with asyncio.timeout(request.timeout) as limit:
                response = await self._attempts(request, limit.when())
        except TimeoutError as error:
            raise self._timed_out(request) from error

        async def aclose() -> None:
            response.close()

        chunks = self._chunks(request, response, limit.when())
        try:
            yield HopStream(response.status, folded(response.headers.items()), chunks, aclose)
        finally:
            response.close()

    async def aclose(self) -> None:
        """Close all connections."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    async def _attempts(self, request: HopRequest, deadline: float | None) -> aiohttp.ClientResponse:
        """The head of the first answer worth returning."""
        clock = asyncio.get_running_loop().time
        for attempt in range(MAX_RETRIES + 1):
            last = attempt == MAX_RETRIES
            base = self._bases.take(clock())
            try:
                response = await self._once(request, base, deadline)
                if response.status not in RETRIED_STATUSES or last or not request.idempotent:
                    return response
                response.release()
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
                self._bases.passed_over_until(base, clock() + COOL_DOWN_SECONDS)
                if last:
                    self._raise_unreachable(request, error)
            except (aiohttp.ClientConnectionError, ConnectionError) as error:
                if last or not request.idempotent:
                    self._raise_unreachable(request, error)
            except aiohttp.ClientError as error:
                self._raise_broken(request, error)
            await asyncio.sleep(random.uniform(0, BACKOFF_SECONDS * 2**attempt))  # noqa: S311  (jitter)
        raise AssertionError("the last attempt returns or raises")

    async def _once(self, request: HopRequest, base: str, deadline: float | None) -> aiohttp.ClientResponse:
        left = (deadline or 0.0) - asyncio.get_running_loop().time()
        headers = {**request.headers, TIMEOUT_MS: str(max(0, int(left * 1000)))}
        return await self._connected().request(
            request.method,
            URL(base + request.path, encoded=True),
            data=request.body or None,
            headers=headers,
            allow_redirects=False,
            timeout=self._timeout,
        )

    def _connected(self) -> aiohttp.ClientSession:
        if self._closed:
            raise HopUnreachable(self._service, f"The client of the {self._service} service has been closed.")
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self._max_connections, keepalive_timeout=IDLE_SECONDS, ttl_dns_cache=10
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            )
            # aiohttp repeats GET, HEAD, PUT and DELETE once on its own; here only the port's flag decides.
            self._session._retry_connection = False  # noqa: SLF001
        return self._session

    async def _chunks(
        self, request: HopRequest, response: aiohttp.ClientResponse, deadline: float | None
    ) -> AsyncIterator[bytes]:
        content = response.content
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    chunk = await content.readany()
            except TimeoutError as error:
                response.close()
                raise self._timed_out(request) from error
            except (aiohttp.ClientError, ConnectionError) as error:
                self._raise_broken(request, error)
            if not chunk:
                return
            yield chunk

    def _timed_out(self, request: HopRequest) -> HopTimeout:
        return HopTimeout(
            self._service,
            f"The {self._service} service did not finish {_what(request)} within {request.timeout:g} s.",
        )

    def _raise_unreachable(self, request: HopRequest, error: Exception) -> NoReturn:
        raise HopUnreachable(
            self._service,
            f"The {self._service} service cannot be reached for {_what(request)}: {type(error).__name__}.",
        ) from error

    def _raise_broken(self, request: HopRequest, error: Exception) -> NoReturn:
        raise HopProtocolError(
            self._service, f"The {self._service} service broke off its answer to {_what(request)}."
        ) from error


class _Bases:
    """The base URLs of one service, taken in turn; those that refused lately come last."""

    def __init__(self, urls: list[str]) -> None:
        self._urls = [url.rstrip("/") for url in urls]
        self._passed_over: dict[str, float] = {}
        self._next = 0

    def take(self, now: float) -> str:
        """The next base URL, passing over those in their cool-down unless all are."""
        for _ in self._urls:
            url = self._urls[self._next]
            self._next = (self._next + 1) % len(self._urls)
            if self._passed_over.get(url, 0.0) <= now:
                return url
        return min(self._urls, key=lambda url: self._passed_over[url])

    def passed_over_until(self, url: str, moment: float) -> None:
        """`url` refused a connection."""
        self._passed_over[url] = moment


def _what(request: HopRequest) -> str:
    return f"{request.method} {request.path.partition('?')[0]}"
