"""Where a Redis server is, read from its URL."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from signalbox.common.cache.ports import CacheUrlError
from signalbox.common.record import record

DEFAULT_PORT = 6379


@record
class RedisAddress:
    """One server and the way to log in. `tls` is None for plain TCP; `password` never shows in a repr."""

    host: str
    port: int = DEFAULT_PORT
    database: int = 0
    username: str | None = None
    password: "_Hidden | None" = None
    tls: ssl.SSLContext | None = None

    def __str__(self) -> str:
        """``host:port/database``, fit for logs and error details."""
        return f"{self.host}:{self.port}/{self.database}"

    def login(self) -> tuple[str, ...]:
        """The arguments of ``HELLO`` that authenticate; empty when the URL has no password."""
        if self.password is None:
            return ()
        return ("AUTH", self.username or "default", self.password.value)


@dataclass(frozen=True, slots=True, repr=False)
class _Hidden:
    value: str

    def __repr__(self) -> str:
        return "***"


def parse_url(url: str) -> RedisAddress:
    """Read ``redis[s]://[user][:password]@host[:port][/database]``.

    ``rediss`` verifies the server's certificate; ``?ssl_ca_certs=FILE`` names the authorities to trust and
    ``?ssl_cert_reqs=none`` trusts any (the names that Celery's Redis URLs use too). Raises `CacheUrlError`.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"redis", "rediss"}:
        raise CacheUrlError(
            f"a cache URL starts with redis:// or rediss://, not {parts.scheme or 'nothing'!r}"
        )
    options = dict(parse_qsl(parts.query))
    unknown = options.keys() - {"ssl_ca_certs", "ssl_cert_reqs", "db"}
    if unknown:
        raise CacheUrlError(f"the cache URL has unknown options: {', '.join(sorted(unknown))}; remove them")
    database = options.pop("db", None) or parts.path.strip("/") or "0"
    try:
        port = parts.port or DEFAULT_PORT
        number = int(database)
    except ValueError as error:
        raise CacheUrlError("the port and the database number of a cache URL are numbers") from error
    return RedisAddress(
        host=parts.hostname or "localhost",
        port=port,
        database=number,
        username=unquote(parts.username) if parts.username else None,
        password=_Hidden(unquote(parts.password)) if parts.password else None,
        tls=_tls(options) if parts.scheme == "rediss" else None,
    )


def _tls(options: dict[str, str]) -> ssl.SSLContext:
    authorities = options.get("ssl_ca_certs")
    if authorities is not None and not Path(authorities).is_file():
        raise CacheUrlError(f"ssl_ca_certs names {authorities}, which is no file")
    context = ssl.create_default_context(cafile=authorities)
    verify = options.get("ssl_cert_reqs", "required")
    if verify == "none":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif verify != "required":
        raise CacheUrlError("ssl_cert_reqs is `required` or `none`")
    return context
