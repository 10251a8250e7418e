"""The HTTP session for all providers: pooled, made at first use, without redirects, cookies or proxies."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson

from signalbox.llm_gateway.errors import ProviderUnreachable

if TYPE_CHECKING:
    import aiohttp

CONNECT_S = 5.0
IDLE_S = 4.0
"""Idle connections are kept for less than uvicorn's 5 s, so that no call meets one that is being closed."""

MAX_CONNECTIONS = 2000


class ProviderHttp:
    """Owns the session; it belongs to the loop of its first use."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    def session(self) -> "aiohttp.ClientSession":
        """The session."""
        import aiohttp  # noqa: PLC0415 - a tenth of a second, which a gateway without a provider does not pay

        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=MAX_CONNECTIONS, keepalive_timeout=IDLE_S, ttl_dns_cache=30
                ),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                # Uncompressed answers are passed on as they are, and small chunks are not held back.
                skip_auto_headers=("User-Agent", "Accept-Encoding"),
                headers={"user-agent": "signalbox"},
            )
        return self._session

    async def fetch(
        self, url: str, *, headers: Mapping[str, str] | None = None, body: Any = None, timeout_s: float = 2.0
    ) -> Any:
        """See ``ports.JsonFetch``."""
        if self._session is None:
            # Most often nobody listens: that is seen without the client.
            await _reach(url, timeout_s)
        import aiohttp  # noqa: PLC0415 - as above

        try:
            async with self.session().request(
                "GET" if body is None else "POST",
                url,
                data=None if body is None else orjson.dumps(body),
                headers={**(headers or {}), "content-type": "application/json"},
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout_s),
            ) as response:
                content = await response.read()
                if response.status != 200:
                    raise ProviderUnreachable(f"it answered {response.status}")
                return orjson.loads(content)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ProviderUnreachable(f"it does not answer: {type(error).__name__}") from error
        except orjson.JSONDecodeError as error:
            raise ProviderUnreachable("it did not answer in JSON") from error

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()


async def _reach(url: str, timeout_s: float) -> None:
    """Raises ProviderUnreachable unless the URL's server accepts a connection."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(parts.hostname, port)
    except (OSError, TimeoutError) as error:
        raise ProviderUnreachable(f"it does not answer: {type(error).__name__}") from error
    writer.close()
