"""The client: a request to an origin's pool, once more where a kept connection turned out to be closed."""

import asyncio
import ssl
from collections.abc import Mapping

from signalbox.common.transport.wire.answer import Answer
from signalbox.common.transport.wire.connection import Connection
from signalbox.common.transport.wire.dialing import Dialing
from signalbox.common.transport.wire.errors import Stale
from signalbox.common.transport.wire.pool import MAX_CONNECTIONS, Pool
from signalbox.common.transport.wire.request import Address, Origin, address_of, request_head

_MANY_ORIGINS = 1000
"""With so many, those that nothing is connected to are forgotten."""


class WireClient:
    """Sends requests; connections are pooled by origin and belong to the loop of the first request.

    ``tls`` is the context for ``https``: by default the system's authorities, with names checked. ``dialing`` says how
    connections are opened and for how long they are kept.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        max_connections: int = MAX_CONNECTIONS,
        dialing: Dialing | None = None,
    ) -> None:
        self._context = tls
        self._max_connections = max_connections
        self._dialing = dialing or Dialing()
        self._pools: dict[Origin, Pool] = {}

    async def send(
        self,
        method: str,
        url: str | Address,
        *,
        headers: Mapping[str, str],
        once: Mapping[str, str] | None = None,
        body: bytes | None = None,
        until: float,
        repeats: bool = True,
    ) -> Answer:
        """The answer, once its head is there. It must be read to its end or closed.

        ``headers`` are those that many requests share, whose bytes are remembered; ``once`` are this request's own.
        ``until`` is a time on the loop's clock. With ``repeats`` a request is sent again where a kept connection turns
        out to be closed: by a server that has not seen it, most likely; else that is a `BrokenOff`.

        Raises:
            NotConnected: nothing was sent.
            BrokenOff, AnswerTooLarge: no usable head came.
            TimeoutError: ``until`` has passed.
            BadAddress, BadHeader: the request is none.
        """
        address = address_of(url) if isinstance(url, str) else url
        head = request_head(method, address, headers, None if body is None else len(body), once)
        pool = self._pools.get(address.origin) or self._pool(address.origin)
        connection = pool.idle() or await pool.connect(until)
        answer = connection.send(head, body or b"")
        try:
            await answer.head(until)
        except Stale:
            # The server closed it while it was idle and has not seen the request: asking again asks once.
            answer.close()
            pool.forget_idle()
            if not repeats:
                raise
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
        if len(self._pools) >= _MANY_ORIGINS:
            self._pools = {other: pool for other, pool in self._pools.items() if pool.is_used}
        pool = self._pools[origin] = Pool(origin, self._tls, self._dialing, limit=self._max_connections)
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
