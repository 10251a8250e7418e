"""Keeps one connection to Redis alive and runs commands and scripts on it within a bounded time.

The states: *new* or *lost* (the next call connects and waits for it), *up*, and *down* (an attempt failed or
the server stopped answering: calls fail at once while a task tries again every `MAX_PAUSE_SECONDS` at the
latest). So a call takes at most `timeout_s`, and a dead Redis costs one call that long, not every call.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import NoReturn

import hiredis

from signalbox.common.cache.ports import CacheUnavailable
from signalbox.common.cache.redis.address import RedisAddress
from signalbox.common.cache.redis.connection import (
    Argument,
    ConnectionLost,
    NoAnswer,
    RedisConnection,
    Reply,
    connect,
)
from signalbox.common.cache.redis.scripts import Script
from signalbox.common.cache.wakeups import Wakeups

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.05
MAX_PAUSE_SECONDS = 0.5

MOVED_PRIMARY = ("READONLY", "MASTERDOWN", "LOADING")
"""Replies of a server that is not, or not yet, a primary; a new connection may find one that is."""


class RedisClient:
    """Commands, scripts and published messages over one shared connection.

    It belongs to the event loop of its first call. `timeout_s` bounds every call, connecting included.
    """

    def __init__(self, address: RedisAddress, *, timeout_s: float) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._connection: RedisConnection | None = None
        self._attempt: asyncio.Future[RedisConnection] | None = None
        self._connector: asyncio.Task[None] | None = None
        self._down: str | None = None
        self._closed = False
        self.wakeups = Wakeups()

    async def call(self, *command: Argument) -> Reply:
        """One command. Raises `CacheUnavailable`."""
        return (await self.call_all((command,)))[0]

    async def call_all(self, commands: Sequence[tuple[Argument, ...]]) -> list[Reply]:
        """Several commands in one round trip (not a transaction). Raises `CacheUnavailable`."""
        try:
            return await self._exchange(commands)
        except hiredis.ReplyError as error:
            self._raise_refused(error)

    async def run(self, script: Script, keys: Sequence[str], *arguments: Argument) -> Reply:
        """A script by its hash; sent whole when the server does not know it (anymore).

        Raises `CacheUnavailable`.
        """
        tail = (len(keys), *keys, *arguments)
        try:
            try:
                return (await self._exchange((("EVALSHA", script.sha, *tail),)))[0]
            except hiredis.ReplyError as error:
                if not str(error).startswith("NOSCRIPT"):
                    raise
                return (await self._exchange((("EVAL", script.source, *tail),)))[0]
        except hiredis.ReplyError as error:
            self._raise_refused(error)

    def subscribe(self, channel: str) -> bool:
        """Ask for the messages of a channel; false without a connection.

        The subscription ends with the connection, and `wakeups` wakes its waiters then.
        """
        if self._connection is None:
            return False
        self._connection.push(("SUBSCRIBE", channel))
        return True

    def unsubscribe(self, channel: str) -> None:
        """Take `subscribe` back."""
        if self._connection is not None:
            self._connection.push(("UNSUBSCRIBE", channel))

    @property
    def is_down(self) -> bool:
        """Whether calls fail at once, unsent, as the server did not answer the last time."""
        return self._down is not None

    async def connected(self) -> None:
        """Return when there is a connection. Raises `CacheUnavailable`."""
        await self._exchange(())

    async def close(self) -> None:
        """Close the connection; pending and later calls fail with `CacheUnavailable`."""
        self._closed = True
        self._down = "the cache is closed"
        if self._connector is not None:
            self._connector.cancel()
            await asyncio.gather(self._connector, return_exceptions=True)
        if self._attempt is not None:
            _fail(self._attempt, self._down)
        if self._connection is not None:
            self._connection.abort(ConnectionLost(self._down))

    async def _exchange(self, commands: Sequence[tuple[Argument, ...]]) -> list[Reply]:
        """Operations of the ports may run twice without harm, so after a lost connection they do, once."""
        started = asyncio.get_running_loop().time()
        try:
            if (connection := self._connection) is not None:
                return await _send(connection, commands)
        except NoAnswer as error:
            raise self._unavailable(str(error)) from error
        except ConnectionLost:
            pass
        try:
            async with asyncio.timeout_at(started + self._timeout_s):
                return await _send(await self._connect(), commands)
        except (TimeoutError, ConnectionLost) as error:
            raise self._unavailable(str(error) or f"no answer within {self._timeout_s:g} s") from error

    async def _connect(self) -> RedisConnection:
        if self._connection is not None:
            return self._connection
        if self._down is not None:
            raise self._unavailable(self._down)
        return await asyncio.shield(self._begin())

    def _begin(self) -> "asyncio.Future[RedisConnection]":
        if self._attempt is None:
            loop = asyncio.get_running_loop()
            self._attempt = loop.create_future()
            self._connector = loop.create_task(self._keep_connecting(self._attempt))
        return self._attempt

    async def _keep_connecting(self, attempt: "asyncio.Future[RedisConnection]") -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                connection = await connect(self._address, self._timeout_s, self.wakeups.wake, self._lose)
                if connection.lost is None:
                    break
                self._go_down(str(connection.lost))
            except (OSError, ConnectionLost, hiredis.ReplyError) as error:
                self._go_down(str(error) or f"no answer within {self._timeout_s:g} s")
                _fail(attempt, str(error))
            await asyncio.sleep(pause)
            pause = min(pause * 2, MAX_PAUSE_SECONDS)
        if self._down is not None:
            logger.info("redis at %s answers again", self._address)
        self._down = self._attempt = None
        self._connection = connection
        if not attempt.done():
            attempt.set_result(connection)

    def _lose(self, connection: RedisConnection, reason: ConnectionLost) -> None:
        if connection is not self._connection:
            return
        self._connection = None
        self.wakeups.wake_all()
        if self._closed:
            return
        if isinstance(reason, NoAnswer):
            self._go_down(str(reason))
            self._begin()

    def _go_down(self, reason: str) -> None:
        if self._down is None:
            logger.warning("redis at %s is unavailable: %s", self._address, reason)
        self._down = reason

    def _raise_refused(self, error: hiredis.ReplyError) -> NoReturn:
        reason = str(error)
        if self._connection is not None and any(word in reason for word in MOVED_PRIMARY):
            self._connection.abort(ConnectionLost(reason))
        raise self._unavailable(reason) from error

    def _unavailable(self, reason: str) -> CacheUnavailable:
        return CacheUnavailable(f"the cache (redis at {self._address}) is unavailable: {reason}; try again")


async def _send(connection: RedisConnection, commands: Sequence[tuple[Argument, ...]]) -> list[Reply]:
    replies = [connection.send(command) for command in commands]
    if len(replies) == 1:
        return [await replies[0]]
    return await asyncio.gather(*replies)


def _fail(attempt: "asyncio.Future[RedisConnection]", reason: str) -> None:
    if not attempt.done():
        attempt.set_exception(ConnectionLost(reason))
        # Nobody may be waiting, and an exception that nobody looks at is logged.
        attempt.exception()
