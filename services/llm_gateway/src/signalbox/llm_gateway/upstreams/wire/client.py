"""The client: a request to an origin's pool, once more where a kept connection turned out to be closed."""

import asyncio
import ssl
from collections.abc import Mapping

from signalbox.llm_gateway.upstreams.wire.answer import Answer
from signalbox.llm_gateway.upstreams.wire.connection import Connection
from signalbox.llm_gateway.upstreams.wire.errors import Stale
from signalbox.llm_gateway.upstreams.wire.pool import MAX_CONNECTIONS, Pool
from signalbox.llm_gateway.upstreams.wire.request import Origin, address_of, request_head


class WireClient:
    """Sends requests; connections are pooled by origin and belong to the loop of the first request.

    ``tls`` is the context for ``https``: by default the system's authorities, with names checked.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None, max_connections: int = MAX_CONNECTIONS) -> None:
        self._context = tls
        self._max_connections = max_connections
        self._pools: dict[Origin, Pool] = {}

    async def send(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None = None, until: float
    ) -> Answer:
        """The answer, once its head is there. It must be read to its end or closed.

        ``until`` is a time on the loop's clock.

        Raises:
            NotConnected: nothing was sent.
            BrokenOff, AnswerTooLarge: no usable head came.
            TimeoutError: ``until`` has passed.
            BadAddress, BadHeader: the request is none.
        """
        address = address_of(url)
        head = request_head(method, address, headers, None if body is None else len(body))
        pool = self._pools.get(address.origin) or self._pool(address.origin)
        connection = pool.idle() or await pool.connect(until)
        answer = connection.send(head, body or b"")
        try:
            await answer.head(until)
        except Stale:
            # The server closed it while it was idle and has not seen the request: asking again asks once.
            answer.close()
            pool.forget_idle()
        except BaseException:
            answer.close()
            raise
        else:
            return answer
        return await _answered(await pool.connect(until), head, body or b"", until)

    def close(self) -> None:
        """Close all connections, those of calls in flight too."""
        for pool in self._pools.values():
            pool.close()

    def _pool(self, origin: Origin) -> Pool:
        pool = self._pools[origin] = Pool(origin, self._tls, limit=self._max_connections)
        return pool

    async def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            # Reading the authorities' certificates takes some 20 ms.
            self._context = await asyncio.to_thread(ssl.create_default_context)
        return self._context


async def _answered(connection: Connection, head: bytes, body: bytes, until: float) -> Answer:
    answer = connection.send(head, body)
    try:
        await answer.head(until)
    except BaseException:
        answer.close()
        raise
    return answer
