"""`python -m signalbox_local run | services`: Signalbox with its example, in one process or many, until Ctrl-C."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from signalbox_local.errors import LocalError
from signalbox_local.one_process import OneProcess
from signalbox_local.processes import ManagedProcess
from signalbox_local.stack import SERVICES, ServicesStack

DEFAULT_PORT = 8000
_PASSED_ON = ("SIGNALBOX_", "OPENAI_", "OTEL_")
_STORES = ("DATABASE_URL", "REDIS_URL")
_WORKFLOW_FILE = "workflow.yaml"
# The stack itself decides where its parts are.
_PLACED_HERE = {
    "SIGNALBOX_DATA",
    "SIGNALBOX_DATABASE_URL",
    "SIGNALBOX_HOST",
    "SIGNALBOX_REDIS_URL",
    *(f"SIGNALBOX_{name.upper()}_URL" for name in SERVICES),
}
_WATCH_SECONDS = 0.25
_DAY_SECONDS = 86_400


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m signalbox_local", description="Local Signalbox systems.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="one process and the example's backend, until Ctrl-C")
    run.add_argument("--port", type=int, default=DEFAULT_PORT, help="port to listen on (default %(default)s)")
    run.add_argument(
        "--data", type=Path, default=Path(".signalbox/run"), help="data and logs (default %(default)s)"
    )
    run.add_argument(
        "--folder",
        type=Path,
        default=Path("examples/shop"),
        help=f"folder whose {_WORKFLOW_FILE} is served (default %(default)s)",
    )
    services = commands.add_parser(
        "services", help="PostgreSQL, Redis, Traefik and six services, until Ctrl-C"
    )
    services.add_argument(
        "--port", type=int, default=DEFAULT_PORT, help="port of the edge (default %(default)s)"
    )
    services.add_argument(
        "--data", type=Path, default=Path(".signalbox/services"), help="data and logs (default %(default)s)"
    )
    services.add_argument(
        "--replicas",
        type=replica_count,
        action="append",
        default=[],
        metavar="SERVICE=N",
        help=f"processes of one of {', '.join(SERVICES)}; repeatable",
    )
    services.add_argument(
        "--workers", type=int, default=1, help="workers of background tasks (default %(default)s)"
    )
    services.add_argument("--no-shop", action="store_true", help="do not start the example's backend")
    services.add_argument(
        "--fake-provider", action="store_true", help="answer model calls with the fake provider"
    )
    return parser.parse_args(arguments)


def replica_count(text: str) -> tuple[str, int]:
    """Read ``SERVICE=N``; raises `argparse.ArgumentTypeError`."""
    name, _, count = text.partition("=")
    if name not in SERVICES or not count.isascii() or not count.isdigit() or int(count) < 1:
        raise argparse.ArgumentTypeError(f"expected SERVICE=N with N >= 1 and one of {', '.join(SERVICES)}")
    return name, int(count)


def main(arguments: Sequence[str] | None = None) -> None:
    """Start, wait for Ctrl-C or SIGTERM, stop; exits with status 1 and one sentence when something fails."""
    options = parse(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    system = one_process(options) if options.command == "run" else services_stack(options)
    try:
        system.start()
        if isinstance(system, ServicesStack):
            _publish(system, Path("examples/shop") / _WORKFLOW_FILE)
            _watch(system.processes())
        else:
            _explain(system)
            _watch({"signalbox": system.process}, system.process.log)
    except KeyboardInterrupt:
        _say("stopping")
    except LocalError as error:
        sys.exit(f"error: {error}")
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        system.stop()


def one_process(options: argparse.Namespace) -> OneProcess:
    """What `make run` starts. The stores and models that the environment names are used as they are."""
    data: Path = options.data.absolute()
    _discard_old_shop(data / "shop.db")
    given = {
        name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON) or name in _STORES
    }
    folder: Path = options.folder.absolute()
    return OneProcess(
        data, port=options.port, arguments=[str(folder)], env=given, shop=True, on_progress=_say
    )


def services_stack(options: argparse.Namespace) -> ServicesStack:
    """What `make services` starts."""
    given = {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}
    return ServicesStack(
        options.data,
        edge_port=options.port,
        replicas=dict(options.replicas),
        workers=max(0, options.workers),
        env={name: value for name, value in given.items() if name not in _PLACED_HERE},
        shop=not options.no_shop,
        provider=options.fake_provider,
        on_progress=_say,
    )


def _discard_old_shop(database: Path) -> None:
    """The shop's orders are dated relative to the day they are made: those of another day mislead."""
    if database.exists() and time.time() - database.stat().st_mtime > _DAY_SECONDS:
        database.unlink()


def _publish(stack: ServicesStack, workflow: Path) -> None:
    if stack.shop is not None and workflow.exists():
        _say(stack.run_cli("publish", str(workflow.absolute()), "--url", stack.edge_url).strip())
    _say(f"ready at {stack.edge_url}; logs in {stack.logs}; Ctrl-C ends everything")


def _explain(system: OneProcess) -> None:
    url = system.edge_url
    for role in system.run_cli("models", "--url", url).splitlines():
        _say(role)
    question = '{"session_id": "me", "message": "where is my order 1042?"}'
    _say("")
    _say(f"Ask:       make ask PORT={system.port} Q='where is my order 1042?'")
    _say(f"or paste:  curl -s {url}/api/v1/query -H 'content-type: application/json' -d '{question}'")
    _say(f"API:       {url}/openapi.json        Docs: README.md, docs/")
    _say("Edit:      examples/shop/workflow.yaml; saving it publishes it. Ctrl-C ends everything.")


def _watch(running: dict[str, ManagedProcess], log: Path | None = None) -> None:
    """Say when a process ends, and what ``log`` has for people: its lines that are not JSON."""
    position = log.stat().st_size if log is not None else 0
    while running:
        time.sleep(_WATCH_SECONDS)
        for name in [name for name, process in running.items() if not process.running]:
            ended = running.pop(name)
            _say(f"{name} ended with status {ended.exit_status}; its log is {ended.log}")
        if log is not None:
            with log.open("rb") as file:
                file.seek(position)
                new = file.read()
            position += len(new)
            for line in new.decode("utf-8", "replace").splitlines():
                if line and not line.startswith("{"):
                    _say(line)


def _say(line: str) -> None:
    print(line, flush=True)
