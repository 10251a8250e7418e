"""`ServiceHop` over HTTP/1.1, on one client for the life of the hop (ADR 0027 says which).

A request is repeated at most twice, with jittered backoff and never past its deadline:

- when no connection came about, always (nothing was sent), on the next base URL if there is one;
- when the connection ended before the answer began, or the answer is 502, 503 or 504: only if the request is
  idempotent. The last answer is returned as it is.
"""

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import NoReturn

from signalbox.common.transport.errors import HopProtocolError, HopTimeout, HopUnreachable
from signalbox.common.transport.ports import HopRequest, HopResponse, HopStream
from signalbox.common.transport.wire import (
    Answer,
    AnswerTooLarge,
    BrokenOff,
    Dialing,
    NotConnected,
    NotHttp,
    WireClient,
    WireError,
)
from signalbox.contracts.headers import TIMEOUT_MS

MAX_RETRIES = 2
RETRIED_STATUSES = frozenset({502, 503, 504})
BACKOFF_SECONDS = 0.05
"""Upper bound of the first pause; doubles at each retry. Each pause is drawn evenly below its bound."""

COOL_DOWN_SECONDS = 1.0
"""How long a base URL that refused a connection is passed over while another one is left."""

_RESOLVED_SECONDS = 10.0
"""How long the addresses of a service's name are used again: replicas come and go."""

_NO_HEADERS: Mapping[str, str] = {}


class HttpServiceHop:
    """Calls a service at one or more base URLs, taken in turn.

    `service` names it in errors. The first call's loop is the hop's; `aclose` ends it.
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
        dialing = Dialing(connect_s=connect_timeout, resolved_s=_RESOLVED_SECONDS, spread=True)
        self._client = WireClient(max_connections=max_connections, dialing=dialing)
        self._closed = False

    async def send(self, request: HopRequest) -> HopResponse:
        """One call, answered whole.

        Raises `HopUnreachable`, `HopTimeout` (deadline passed) or `HopProtocolError` (the answer broke off).
        """
        until = asyncio.get_running_loop().time() + request.timeout
        try:
            answer = await self._attempts(request, until)
            try:
                body = await answer.read(until, sys.maxsize)
            except WireError as error:
                self._raise_broken(request, error)
            finally:
                answer.close()
        except TimeoutError as error:
            raise self._timed_out(request) from error
        return HopResponse(answer.status, answer.headers, body)

    @asynccontextmanager
    async def stream(self, request: HopRequest) -> AsyncIterator[HopStream]:
        """One call whose chunks arrive as the service sends them. Leaving early closes the connection.

        Retries end where the answer's head begins; the deadline holds to the last chunk.
        """
        until = asyncio.get_running_loop().time() + request.timeout
        try:
            answer = await self._attempts(request, until)
        except TimeoutError as error:
            raise self._timed_out(request) from error

        async def aclose() -> None:
            answer.close()

        try:
            yield HopStream(answer.status, answer.headers, self._chunks(request, answer, until), aclose)
        finally:
            answer.close()

    async def aclose(self) -> None:
        """Close all connections."""
        self._closed = True
        self._client.close()

    async def _attempts(self, request: HopRequest, until: float) -> Answer:
        """The head of the first answer worth returning. Raises TimeoutError at ``until``."""
        clock = asyncio.get_running_loop().time
        for attempt in range(MAX_RETRIES + 1):
            last = attempt == MAX_RETRIES
            base = self._bases.take(clock())
            try:
                answer = await self._once(request, base, until, clock())
                if answer.status not in RETRIED_STATUSES or last or not request.idempotent:
                    return answer
                await answer.read(until, sys.maxsize)
            except NotConnected as error:
                self._bases.passed_over_until(base, clock() + COOL_DOWN_SECONDS)
                if last:
                    self._raise_unreachable(request, error)
            except (NotHttp, AnswerTooLarge) as error:
                self._raise_broken(request, error)
            except BrokenOff as error:
                if last or not request.idempotent:
                    self._raise_unreachable(request, error)
            pause = random.uniform(0, BACKOFF_SECONDS * 2**attempt)  # noqa: S311  (jitter)
            await asyncio.sleep(min(pause, until - clock()))
        raise AssertionError("the last attempt returns or raises")

    async def _once(self, request: HopRequest, base: str, until: float, now: float) -> Answer:
        if self._closed:
            raise HopUnreachable(self._service, f"The client of the {self._service} service has been closed.")
        left = until - now
        if left <= 0:
            raise TimeoutError
        return await self._client.send(
            request.method,
            base + request.path,
            headers=_NO_HEADERS,
            once={**request.headers, TIMEOUT_MS: str(int(left * 1000))},
            body=request.body or None,
            until=until,
            repeats=False,  # the port's flag says whether it may be sent twice
        )

    async def _chunks(self, request: HopRequest, answer: Answer, until: float) -> AsyncIterator[bytes]:
        while True:
            try:
                chunk = await answer.chunk(until)
            except TimeoutError as error:
                answer.close()
                raise self._timed_out(request) from error
            except WireError as error:
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
