"""What a process does not import on its way to ready: the proof that its cost stays out. Nothing is timed here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

NOT_FOR_SERVING = {
    "aiohttp": "by litellm",
    "alembic": "with a migration",
    "anyio._backends._asyncio": "with the first stream, and in the background after the start",
    "celery": "with workers",
    "cryptography": "never: tokens are signed with hmac",
    "httpx": "by commands that call a server",
    "jsonschema": "with the first JSON schema that is used, and in the background after the start",
    "jwt": "never: tokens are signed with hmac",
    "litellm": "with a deployment that only litellm can call",
    "openai": "never",
    "numpy": "with the first message that examples decide, and in the background after the start",
    "opentelemetry.exporter": "with SIGNALBOX_OTLP_ENDPOINT",
    "opentelemetry.sdk": "with an exporter",
    "psutil": "never",
    "psycopg": "with a PostgreSQL URL",
    "pydantic.v1": "by FastAPI with the first route that it analyses",
    "redis": "with a Redis URL",
    "requests": "never",
    "sqlalchemy": "with a migration: statements are text",
    "websockets": "never: nothing here speaks WebSocket",
    "yarl": "with the first call out, and in the background after the start",
}
"""Modules, and when they are imported."""

ROOT = Path(__file__).parents[2]
SERVICES = ("admin", "flows", "llm_gateway", "skills", "standalone", "tools", "workflow")
_PROBE = """
import importlib, json, sys
from signalbox.common.cli.root import prepare_process
prepare_process()
from signalbox.common.cli.commands import build_cli
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


_LATE_PROBE = """
import json, sys, warnings
warnings.simplefilter("error")
from signalbox.common.cli.root import prepare_process
prepare_process()
from fastapi.routing import APIRoute
from pydantic import BaseModel
from signalbox.common.web.late import build_late
from signalbox.common.web.openapi import render_openapi
from signalbox.standalone.app import create_app

def models(parent):
    for model in parent.__subclasses__():
        yield from models(model)
        if model.__module__.startswith(("signalbox.", "fastapi.")):
            yield model

def state():
    unbuilt = [model for model in models(BaseModel) if not model.__pydantic_complete__]
    ours = [model.__name__ for model in unbuilt if model.__module__.startswith("signalbox.")]
    routes = [r for app in apps.values() for r in app.routes if isinstance(r, APIRoute) and "app" not in r.__dict__]
    return {"ours": len(ours), "others": len(unbuilt) - len(ours), "routes": len(routes)}

apps = create_app().apps
before = state()
build_late(apps.values())
after = state()
openapi = {name: render_openapi(app) for name, app in apps.items()}
print(json.dumps({"before": before, "after": after, "openapi": openapi}))
"""


def test_models_are_built_and_routes_analysed_after_the_start_and_are_then_what_they_always_are(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LATE_PROBE],
        cwd=tmp_path,
        env={"SIGNALBOX_DATA": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["before"]["ours"] > 100, "models are built by the start"
    assert found["before"]["others"] > 20, "FastAPI's models are built by the start"
    assert found["before"]["routes"] > 50, "routes are analysed by the start"
    assert (found["after"]["ours"], found["after"]["routes"]) == (0, 0)
    for name, document in found["openapi"].items():
        committed = ROOT / "services" / name / "openapi.json"
        assert document == committed.read_text(), f"{name}: the API is another when models are built late"


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
