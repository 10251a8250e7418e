"""One socket to Redis that all coroutines of a process share.

Commands issued in one turn of the event loop leave in one write, replies come back in the order of the
commands, and with RESP3 (Redis >= 6.0) published messages arrive on the same socket. Per command this costs a
fraction of a pooled client's time (``bench/cache.py`` prints the ratio), a cancelled caller does not cost the
connection, and nothing that blocks may be sent on it.

Protocol: https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import hiredis

from signalbox.common.cache.redis.address import RedisAddress

Argument = str | bytes | int
Reply = Any
"""bytes, int, None or a list of these."""

MAX_BUFFERED_BYTES = 64 * 1024 * 1024
"""Unsent bytes at which further commands are refused: Redis does not read as fast as this process writes."""

OLDEST = (6, 2)
"""The first version with everything that is used here."""

LATE_SECONDS = 0.05
"""A watchdog that itself runs this late says that the event loop was busy, not that Redis was slow."""

_NOTHING = object()


class ConnectionLost(Exception):
    """The connection ended before the reply came; whether the command ran is unknown."""


class NoAnswer(ConnectionLost):
    """The server did not answer in time, so the connection was given up."""


class RedisConnection(asyncio.Protocol):
    """Sends commands and hands each reply to its caller.

    A reply later than `timeout_s` seconds ends the connection: replies are ordered, so every later one would
    be late too. `on_message` gets the channel of each published message, `on_lost` the reason when the
    connection has ended for whatever reason.
    """

    def __init__(
        self,
        timeout_s: float,
        on_message: Callable[[str], None],
        on_lost: Callable[["RedisConnection", ConnectionLost], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout_s = timeout_s
        self._on_message = on_message
        self._on_lost = on_lost
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self._pending: deque[tuple[asyncio.Future[Reply], float]] = deque()
        self._unsent: list[bytes] = []
        self._flushing = False
        self._full = False
        self._watchdog: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self.lost: ConnectionLost | None = None
        """Why the connection ended, once it has."""

    def send(self, command: tuple[Argument, ...]) -> "asyncio.Future[Reply]":
        """Queue a command; the future gets its reply, `hiredis.ReplyError` or `ConnectionLost`."""
        reply: asyncio.Future[Reply] = self._loop.create_future()
        if self.lost is not None:
            reply.set_exception(self.lost)
        elif self._full:
            reply.set_exception(NoAnswer("too much is waiting to be sent"))
        else:
            self._write(command)
            self._pending.append((reply, self._loop.time()))
            if self._watchdog is None:
                self._watch(self._timeout_s)
        return reply

    def push(self, command: tuple[Argument, ...]) -> None:
        """Queue a command that has no reply of its own: SUBSCRIBE and UNSUBSCRIBE under RESP3."""
        if self.lost is None:
            self._write(command)

    def abort(self, reason: ConnectionLost) -> None:
        """End the connection now; everything pending fails with `reason`."""
        if self.lost is not None:
            return
        self.lost = reason
        if self._watchdog is not None:
            self._watchdog.cancel()
        if self._transport is not None:
            self._transport.abort()
        pending, self._pending = self._pending, deque()
        for reply, _ in pending:
            if not reply.done():
                # One each: an exception that many raise keeps all their frames.
                reply.set_exception(type(reason)(*reason.args))
                # A caller that was cancelled in this very turn never looks at its future.
                reply.exception()
        self._on_lost(self, reason)

    def _write(self, command: tuple[Argument, ...]) -> None:
        self._unsent.append(cast("bytes", hiredis.pack_command(cast("Any", command))))
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._transport is not None and self.lost is None:
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()

    def _watch(self, delay: float) -> None:
        self._watchdog = self._loop.call_later(delay, self._check, self._loop.time() + delay)

    def _check(self, due: float) -> None:
        self._watchdog = None
        if not self._pending:
            return
        now = self._loop.time()
        left = self._pending[0][1] + self._timeout_s - now
        if left > 0:
            self._watch(left)
        elif now - due > LATE_SECONDS:
            self._watch(LATE_SECONDS)
        else:
            self.abort(NoAnswer(f"no answer within {self._timeout_s:g} s"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=MAX_BUFFERED_BYTES)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio: give each whole reply to its caller."""
        reader, pending = self._reader, self._pending
        reader.feed(data)
        try:
            while (reply := reader.gets()) is not _NOTHING:
                if isinstance(reply, hiredis.PushNotification):
                    if reply[0] == b"message":
                        self._on_message(reply[1].decode())
                    continue
                future, _ = pending.popleft()
                if future.done():
                    continue
                if isinstance(reply, hiredis.ReplyError):
                    future.set_exception(reply)
                else:
                    future.set_result(reply)
        except (hiredis.ProtocolError, IndexError):
            self.abort(ConnectionLost("the server does not speak the Redis protocol"))

    def pause_writing(self) -> None:
        """Called by asyncio."""
        self._full = True

    def resume_writing(self) -> None:
        """Called by asyncio."""
        self._full = False

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        self.abort(ConnectionLost(str(exc) if exc else "the server closed the connection"))


async def connect(
    address: RedisAddress,
    timeout_s: float,
    on_message: Callable[[str], None],
    on_lost: Callable[[RedisConnection, ConnectionLost], None],
) -> RedisConnection:
    """A connection that is logged in and has its database selected.

    Raises `OSError` (`TimeoutError` after `timeout_s`), `ConnectionLost` or `hiredis.ReplyError`.
    """
    loop = asyncio.get_running_loop()
    connection: RedisConnection | None = None
    try:
        async with asyncio.timeout(timeout_s):
            _, connection = await loop.create_connection(
                lambda: RedisConnection(timeout_s, on_message, on_lost),
                address.host,
                address.port,
                ssl=address.tls,
            )
            greeting = [connection.send(("HELLO", 3, *address.login()))]
            if address.database:
                greeting.append(connection.send(("SELECT", address.database)))
            _require_supported(await greeting[0])
            for reply in greeting[1:]:
                await reply
    except BaseException:
        if connection is not None:
            connection.abort(ConnectionLost("the login failed"))
        raise
    return connection


def _require_supported(hello: dict[bytes, Reply]) -> None:
    version = hello[b"version"].decode()
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        raise ConnectionLost(f"the server is Redis {version}, but 6.2 or newer is needed")
    if hello[b"mode"] == b"cluster":
        raise ConnectionLost("the server is part of a Redis Cluster; name one that stands alone")
    if hello[b"role"] != b"master":
        raise ConnectionLost("the server is a replica; name its primary")
