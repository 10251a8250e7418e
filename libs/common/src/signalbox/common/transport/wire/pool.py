"""The connections to one origin: reused last in, first out, so that those too many grow old and are closed."""

import asyncio
from collections import deque

from signalbox.common.transport.wire.connection import Connection
from signalbox.common.transport.wire.dialing import Dialer, Dialing, TlsSource
from signalbox.common.transport.wire.errors import NotConnected
from signalbox.common.transport.wire.request import Origin

IDLE_S = 4.0
"""Idle connections are kept for less than the 5 s of uvicorn and Node, so that no call meets one being closed."""

MAX_CONNECTIONS = 2000

_ENDING = "the process is ending"


class Pool:
    """Gives out connections to ``origin``, at most ``limit`` at a time; who comes later waits in order."""

    def __init__(
        self, origin: Origin, tls: TlsSource, dialing: Dialing, *, limit: int = MAX_CONNECTIONS
    ) -> None:
        self._dialer = Dialer(origin, tls, dialing)
        self._limit = limit
        self._idle_s = IDLE_S if dialing.idle_s is None else dialing.idle_s
        self._loop = asyncio.get_running_loop()
        self._idle: list[Connection] = []
        self._connections: set[Connection] = set()
        self._opening = 0
        self._waiters: deque[asyncio.Future[Connection | None]] = deque()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closing = False

    @property
    def is_used(self) -> bool:
        """Whether there is any connection, or about to be."""
        return bool(self._connections or self._opening or self._waiters)

    def idle(self) -> Connection | None:
        """A connection that is open and has nothing to do, if there is one."""
        return self._idle.pop() if self._idle else None

    async def connect(self, until: float) -> Connection:
        """A connection that has nothing to do: a fresh one, or at the limit the first that becomes free.

        Raises:
            NotConnected: none came about.
            TimeoutError: ``until`` has passed.
        """
        self._check_wanted()
        if len(self._connections) + self._opening < self._limit:
            self._opening += 1
        else:
            connection = await self._turn(until)
            if connection is not None:
                return connection
        try:
            connection = await self._dialer.dial(lambda: Connection(self._free, self._lost), until)
        except BaseException:
            self._opening -= 1
            self._room()
            raise
        self._opening -= 1
        if not connection.is_open:
            self._room()
            raise NotConnected("it closed the connection")
        self._connections.add(connection)
        try:
            self._check_wanted()
        except NotConnected:
            connection.abort()
            raise
        return connection

    def forget_idle(self) -> None:
        """Close what is idle: one of them was found closed by the server, and the others are of its age."""
        while self._idle:
            self._idle.pop().abort()

    def close(self) -> None:
        """Close everything, calls in flight too."""
        self._closing = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._idle.clear()
        for connection in list(self._connections):
            connection.abort()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(NotConnected(_ENDING))

    def _check_wanted(self) -> None:
        """Raises NotConnected when the pool is closing."""
        if self._closing:
            raise NotConnected(_ENDING)

    async def _turn(self, until: float) -> Connection | None:
        """A connection that has become free; None: there is room for another one, which is counted as opening."""
        waiter: asyncio.Future[Connection | None] = self._loop.create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout_at(until):
                return await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                # It came in the moment in which its taker gave up.
                connection = waiter.result()
                if connection is not None:
                    self._free(connection)
                else:
                    self._opening -= 1
                    self._room()
            raise

    def _next_waiter(self) -> "asyncio.Future[Connection | None] | None":
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                return waiter
        return None

    def _room(self) -> None:
        """One connection fewer: whoever waits may open another."""
        if not self._closing and (waiter := self._next_waiter()) is not None:
            self._opening += 1
            waiter.set_result(None)

    def _free(self, connection: Connection) -> None:
        if self._closing:
            connection.abort()
        elif self._waiters and (waiter := self._next_waiter()) is not None:
            waiter.set_result(connection)
        else:
            connection.idle_until = self._loop.time() + self._idle_s
            self._idle.append(connection)
            if self._sweeper is None:
                self._sweeper = self._loop.call_later(self._idle_s, self._sweep)

    def _lost(self, connection: Connection) -> None:
        if connection in self._connections:
            self._connections.remove(connection)
            if connection in self._idle:
                self._idle.remove(connection)
            self._room()

    def _sweep(self) -> None:
        now = self._loop.time()
        self._sweeper = None
        old = [connection for connection in self._idle if connection.idle_until <= now]
        for connection in old:
            connection.abort()
        if self._idle:
            first = min(connection.idle_until for connection in self._idle)
            self._sweeper = self._loop.call_at(first, self._sweep)
