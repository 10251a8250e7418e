"""A database that is opened when the process starts serving, not when its app is made."""

from collections.abc import Callable

from signalbox.common.storage.ports import Database, Dialect, Params, Row, Statement, Write


class DeferredDatabase:
    """Stands for a database before it is opened: making an app touches no file and no socket.

    ``open`` is called by whoever starts the process, so that what is wrong is said before anything is served;
    a call that comes earlier opens it too.
    """

    def __init__(self, dialect: Dialect, connect: Callable[[], Database]) -> None:
        self._dialect: Dialect = dialect
        self._connect = connect
        self._opened: Database | None = None

    @property
    def dialect(self) -> Dialect:
        """Which SQL it speaks."""
        return self._dialect

    def open(self) -> Database:
        """Open it, once. Raises what ``open_database`` raises."""
        if self._opened is None:
            self._opened = self._connect()
        return self._opened

    async def fetch_all(self, statement: Statement, params: Params | None = None) -> list[Row]:
        """See ``Database.fetch_all``."""
        return await self.open().fetch_all(statement, params)

    async def fetch_one(self, statement: Statement, params: Params | None = None) -> Row | None:
        """See ``Database.fetch_one``."""
        return await self.open().fetch_one(statement, params)

    async def write(self, *writes: Write) -> list[list[Row]]:
        """See ``Database.write``."""
        return await self.open().write(*writes)

    async def ping(self) -> None:
        """See ``Database.ping``."""
        await self.open().ping()

    async def close(self) -> None:
        """See ``Database.close``; nothing happens where it was never opened."""
        if self._opened is not None:
            await self._opened.close()
