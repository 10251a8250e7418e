"""What stands beside Signalbox in a local system: the example's shop backend and the fake provider."""

import json
import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

from signalbox_local.ports import HOST, free_port
from signalbox_local.processes import ManagedProcess
from signalbox_local.readiness import answers_http

_OURS = ("SIGNALBOX_", "OPENAI_", "OTEL_", "SHOP_")
_OURS_EXACTLY = {"DATABASE_URL", "REDIS_URL"}


def neutral_environment() -> dict[str, str]:
    """The environment without the variables that Signalbox reads: a system here depends on its own only."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_OURS) and name not in _OURS_EXACTLY
    }


class Companion:
    """A process beside Signalbox, and the variables by which Signalbox finds it."""

    def __init__(self, process: ManagedProcess, url: str, environment: Mapping[str, str]) -> None:
        """Describe it; nothing runs before its ``process`` is started."""
        self.process = process
        self.url = url
        self.environment = environment


def shop_backend(directory: Path, logs: Path) -> Companion:
    """The example's shop, with its database under ``directory`` and a token of its own."""
    port, token = free_port(), secrets.token_urlsafe(24)
    url = f"http://{HOST}:{port}"
    process = ManagedProcess(
        "shop",
        [
            *(sys.executable, "-m", "signalbox_example_shop"),
            *("--port", str(port), "--database", str(directory / "shop.db")),
        ],
        log=logs / "shop.log",
        env={**neutral_environment(), "SHOP_TOKEN": token},
        ready=answers_http(f"{url}/health"),
    )
    environment = {
        "SIGNALBOX_VARIABLES": json.dumps({"shop_url": url}),
        "SIGNALBOX_OUTBOUND_ALLOW": json.dumps([f"{HOST}:{port}"]),
        "SIGNALBOX_SECRET_SHOP_TOKEN": token,
    }
    return Companion(process, url, environment)


def fake_provider(logs: Path, script: Path | None = None) -> Companion:
    """The fake provider, answering by ``script`` (YAML or JSON rules) or with echoes."""
    port = free_port()
    url = f"http://{HOST}:{port}/v1"
    command = [sys.executable, "-m", "signalbox_fake_provider", "--port", str(port)]
    process = ManagedProcess(
        "fake-provider",
        command + (["--script", str(script)] if script else []),
        log=logs / "fake-provider.log",
        env=neutral_environment(),
        ready=answers_http(f"{url}/models"),
    )
    return Companion(process, url, {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "fake-provider"})
