"""What a process does not import on its way to ready: the proof that its cost stays out. Nothing is timed here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

NOT_FOR_SERVING = {
    "aiohttp": "with the first call out, and in the background after the start",
    "alembic": "with a migration",
    "celery": "with workers",
    "cryptography": "never: tokens are signed with hmac",
    "httpx": "by commands that call a server",
    "jsonschema": "with the first JSON schema that is used, and in the background after the start",
    "jwt": "never: tokens are signed with hmac",
    "litellm": "with a deployment that only litellm can call",
    "openai": "never",
    "opentelemetry.exporter": "with SIGNALBOX_OTLP_ENDPOINT",
    "opentelemetry.sdk": "with an exporter",
    "psutil": "never",
    "psycopg": "with a PostgreSQL URL",
    "redis": "with a Redis URL",
    "requests": "never",
    "sqlalchemy": "with a migration: statements are text",
    "websockets": "never: nothing here speaks WebSocket",
}
"""Modules, and when they are imported."""

SERVICES = ("admin", "flows", "llm_gateway", "skills", "standalone", "tools", "workflow")
_PROBE = """
import importlib, json, sys
from signalbox.common.cli.root import build_cli
build_cli()
importlib.import_module("signalbox.common.cli.serve")
importlib.import_module(sys.argv[1]).create_app()
import uvicorn
print(json.dumps(sorted(sys.modules)))
"""


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_created_without(service: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROBE, f"signalbox.{service}.app"],
        cwd=tmp_path,
        env={"SIGNALBOX_DATA": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout))
    assert f"signalbox.{service}.app" in loaded
    assert loaded & set(NOT_FOR_SERVING) == set()


_TOOL_PROBE = """
import sys
from signalbox.common.arguments import load_checks
from signalbox.contracts.workflow_config import WorkflowConfig
from signalbox.tools.registry import Registry
tool = {"id": "t", "description": "d", "effect": "read", "python": "f", "parameters": {"type": "object"}}
registry = Registry(WorkflowConfig.model_validate({"workflow_id": "w", "name": "w", "tools": [tool]}), {}, {})
print("jsonschema" in sys.modules)
load_checks()
print("jsonschema" in sys.modules)
print(registry.get("t") is registry.get("t"))
"""


def test_a_snapshot_with_tools_is_served_before_what_checks_schemas_is_loaded(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _TOOL_PROBE],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.split() == ["False", "True", "True"], done.stderr
