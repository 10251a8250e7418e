"""The HTTP client for all providers, and small JSON calls by it."""

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson

from signalbox.common.transport.wire import BadAddress, BadHeader, WireClient, WireError
from signalbox.llm_gateway.errors import ProviderUnreachable

_MAX_JSON_BYTES = 16 * 1024 * 1024


class ProviderHttp:
    """Owns the client, whose connections are closed with it."""

    def __init__(self) -> None:
        self.client = WireClient()

    async def fetch(
        self, url: str, *, headers: Mapping[str, str] | None = None, body: Any = None, timeout_s: float = 2.0
    ) -> Any:
        """See ``ports.JsonFetch``."""
        until = asyncio.get_running_loop().time() + timeout_s
        try:
            answer = await self.client.send(
                "GET" if body is None else "POST",
                url,
                headers={**(headers or {}), "content-type": "application/json"},
                body=None if body is None else orjson.dumps(body),
                until=until,
            )
            try:
                content = await answer.read(until, _MAX_JSON_BYTES)
            finally:
                answer.close()
        except (WireError, TimeoutError, BadAddress, BadHeader) as error:
            raise ProviderUnreachable(f"it does not answer: {str(error) or type(error).__name__}") from error
        if answer.status != 200:
            raise ProviderUnreachable(f"it answered {answer.status}")
        try:
            return orjson.loads(content)
        except orjson.JSONDecodeError as error:
            raise ProviderUnreachable("it did not answer in JSON") from error

    async def close(self) -> None:
        """Close all connections."""
        self.client.close()
