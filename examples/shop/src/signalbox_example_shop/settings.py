"""Where the shop listens, where its data is, and who may call it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DEFAULT_PORT = 8900
HIGHEST_PORT = 65_535


class SettingsError(ValueError):
    """A setting has a value that cannot be used; the message names the setting and what it takes."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The shop's settings; every one has a default that works.

    `database` is the path of the SQLite file, generated when it does not exist; None keeps the data in a
    temporary directory that is removed when the service stops. `token` is the bearer token that every call
    but `/health` must carry; None asks for none. The address is loopback: this is an example, not a shop.
    """

    database: Path | None = None
    port: int = DEFAULT_PORT
    token: str | None = None
    host: str = "127.0.0.1"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "Settings":
        """Read `SHOP_DATABASE`, `SHOP_PORT` and `SHOP_TOKEN`; an empty value counts as not set.

        Raises `SettingsError` when the port is not a port number.
        """
        values = os.environ if environment is None else environment
        database = values.get("SHOP_DATABASE")
        return cls(
            database=Path(database) if database else None,
            port=parse_port(values.get("SHOP_PORT") or str(DEFAULT_PORT)),
            token=values.get("SHOP_TOKEN") or None,
        )


def parse_port(text: str) -> int:
    """Return the port number that `text` is; raises `SettingsError` when it is none."""
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= HIGHEST_PORT:
        raise SettingsError(f"The port must be a number from 1 to {HIGHEST_PORT}, not {text!r}.")
    return int(text)
