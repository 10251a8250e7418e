"""Where the shop listens, where its data is, and who may call it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DEFAULT_PORT = 8900
DEFAULT_EMBEDDINGS_MODEL = "embed"
HIGHEST_PORT = 65_535


class SettingsError(ValueError):
    """A setting has a value that cannot be used; the message names the setting and what it takes."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The shop's settings; every one has a default that works.

    `database` is the path of the SQLite file, generated when it does not exist; None keeps the data in a
    temporary directory that is removed when the service stops. `token` is the secret that every call but
    `/health` must show; None asks for none. The address is loopback: this is an example, not a shop.

    The FAQ is searched in the SQLite file, or with `faq_database_url` in PostgreSQL (libpq's form of URL). With
    `embeddings_url`, the base URL of a server that speaks OpenAI's protocol, it is searched by meaning as well.
    """

    database: Path | None = None
    port: int = DEFAULT_PORT
    token: str | None = None
    host: str = "127.0.0.1"
    faq_database_url: str | None = None
    embeddings_url: str | None = None
    embeddings_model: str = DEFAULT_EMBEDDINGS_MODEL
    embeddings_key: str | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "Settings":
        """Read the variables that begin with `SHOP_`; an empty value counts as not set.

        Raises `SettingsError` when the port is not a port number.
        """
        values = os.environ if environment is None else environment
        database = values.get("SHOP_DATABASE")
        return cls(
            database=Path(database) if database else None,
            port=parse_port(values.get("SHOP_PORT") or str(DEFAULT_PORT)),
            token=values.get("SHOP_TOKEN") or None,
            faq_database_url=values.get("SHOP_FAQ_DATABASE_URL") or None,
            embeddings_url=values.get("SHOP_EMBEDDINGS_URL") or None,
            embeddings_model=values.get("SHOP_EMBEDDINGS_MODEL") or DEFAULT_EMBEDDINGS_MODEL,
            embeddings_key=values.get("SHOP_EMBEDDINGS_KEY") or None,
        )


def parse_port(text: str) -> int:
    """Return the port number that `text` is; raises `SettingsError` when it is none."""
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= HIGHEST_PORT:
        raise SettingsError(f"The port must be a number from 1 to {HIGHEST_PORT}, not {text!r}.")
    return int(text)
