"""`signalbox-fake-provider`: run the provider by hand."""

import argparse
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from signalbox_fake_provider.app import DEFAULT_MODELS, ProviderState
from signalbox_fake_provider.fields import ScriptError
from signalbox_fake_provider.script import Script
from signalbox_fake_provider.server import HOST, create_server, listen

DEFAULT_PORT = 8901


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="signalbox-fake-provider",
        description="An HTTP server that speaks the OpenAI protocol with scripted answers and faults.",
    )
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help=f"port on {HOST}; 0 takes a free one")
    parser.add_argument(
        "--script", type=Path, help="YAML or JSON file of rules; without it answers are echoes"
    )
    parser.add_argument(
        "--model",
        action="append",
        help=f"name in GET /v1/models, repeatable (default {', '.join(DEFAULT_MODELS)})",
    )
    # A parent that has opened the port itself passes it on, so that nobody can take it in between.
    parser.add_argument("--listener", type=int, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until interrupted; exits with status 2 when the script or the port cannot be used."""
    options = parse(arguments)
    try:
        script = Script.from_text(options.script.read_text()) if options.script else Script()
        listener = socket.socket(fileno=options.listener) if options.listener else listen(options.port)
    except ScriptError as error:
        sys.exit(_complain(f"{options.script}: {error}"))
    except OSError as error:
        what = options.script if error.filename else f"port {options.port}"
        sys.exit(_complain(f"cannot use {what}: {error.strerror}"))
    state = ProviderState(script, tuple(options.model or DEFAULT_MODELS))
    print(
        f"listening on http://{HOST}:{listener.getsockname()[1]}/v1 with {len(script.rules)} rules",
        flush=True,
    )
    create_server(state).run(sockets=[listener])


def _complain(message: str) -> int:
    print(f"signalbox-fake-provider: {message}", file=sys.stderr)
    return 2
