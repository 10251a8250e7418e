"""From a URL to a database."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from signalbox.common.errors import SignalboxError
from signalbox.common.storage.ports import Database

SQLITE_PREFIX = "sqlite:///"
POSTGRES_SCHEMES = ("postgresql", "postgres")
DEFAULT_TIMEOUT_S = 5.0


class BadDatabaseUrl(SignalboxError):
    """The URL names no database that Signalbox can use."""

    code = "bad_database_url"

    def __init__(self, url: str) -> None:
        scheme = urlsplit(url).scheme or "no scheme"
        super().__init__(
            f"The database URL must start with postgresql:// or {SQLITE_PREFIX} (it has {scheme}); "
            "set SIGNALBOX_DATABASE_URL, or leave it out to use SQLite files."
        )


def sqlite_path(url: str) -> Path | None:
    """The file that a ``sqlite:///`` URL names (four slashes: an absolute path); None for another URL."""
    if not url.startswith(SQLITE_PREFIX) or url == SQLITE_PREFIX:
        return None
    return Path(unquote(url.removeprefix(SQLITE_PREFIX)))


def is_postgres(url: str) -> bool:
    """Whether the URL is PostgreSQL's."""
    return urlsplit(url).scheme in POSTGRES_SCHEMES


def open_database(url: str, *, pool_size: int = 8, timeout_s: float = DEFAULT_TIMEOUT_S) -> Database:
    """The database that ``postgresql://...`` or ``sqlite:///path`` names; its tables must be there already.

    ``pool_size`` bounds PostgreSQL connections, ``timeout_s`` the time of any call to it. A SQLite file is
    locked from now until ``close()``; PostgreSQL is connected to at the first call.

    Raises:
        BadDatabaseUrl: the URL is neither.
        DatabaseInUse: another process holds the SQLite file.
        StorageUnavailable: the SQLite file cannot be opened.
    """
    # Each driver is loaded only where it is used: this is on the way to "ready".
    if is_postgres(url):
        from signalbox.common.storage.postgres import PostgresDatabase  # noqa: PLC0415

        return PostgresDatabase(url, pool_size=pool_size, timeout_s=timeout_s)
    path = sqlite_path(url)
    if path is None:
        raise BadDatabaseUrl(url)
    from signalbox.common.storage.sqlite import SqliteDatabase  # noqa: PLC0415

    return SqliteDatabase(path)
