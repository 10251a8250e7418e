"""Options that several commands have."""

from typing import Annotated

import typer

DEFAULT_URL = "http://127.0.0.1:8000"

Url = Annotated[str, typer.Option("--url", envvar="SIGNALBOX_URL", help="Where Signalbox listens.")]
