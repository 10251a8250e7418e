"""`python -m signalbox_example_shop`: run the shop until it is interrupted."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import uvicorn

from signalbox_example_shop.app import create_app
from signalbox_example_shop.database import DatabaseError, opened
from signalbox_example_shop.dependencies import utc_now
from signalbox_example_shop.settings import Settings, SettingsError, parse_port


def parse_settings(arguments: Sequence[str]) -> Settings:
    """Return the environment's settings with what the command line says on top."""
    settings = Settings.from_environment()
    parser = argparse.ArgumentParser(
        prog="python -m signalbox_example_shop",
        description="The example's shop backend. SHOP_DATABASE, SHOP_PORT and SHOP_TOKEN set the defaults.",
    )
    parser.add_argument("--port", default=str(settings.port), help="port on 127.0.0.1 (default %(default)s)")
    parser.add_argument(
        "--database",
        type=Path,
        default=settings.database,
        help="SQLite file, generated when it does not exist (default: temporary, removed at the end)",
    )
    options = parser.parse_args(arguments)
    return replace(settings, port=parse_port(options.port), database=options.database)


def main() -> None:
    """Read the command line and serve; ends with status 2 on a setting that cannot be used."""
    try:
        settings = parse_settings(sys.argv[1:])
        if settings.database is not None:
            with opened(settings.database, utc_now().date()):
                pass
    except (SettingsError, DatabaseError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - a command line speaks on its terminal
        sys.exit(2)
    uvicorn.run(create_app(settings), host=settings.host, port=settings.port, log_level="warning")


if __name__ == "__main__":
    main()
