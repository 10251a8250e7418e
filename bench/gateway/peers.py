"""The gateways that ours is compared with, each as fast as it can be made without taking its function away."""

import getpass
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml
from loads import MODELS, Missing, Subject
from machine import LOAD_CORE, on_core
from place import Place

from signalbox_local.ports import HOST, free_port
from signalbox_local.redis import RedisServer

HERE = Path(__file__).resolve().parent
LITELLM = ("litellm[proxy]==1.106.2", "uvloop", "httptools")
TENSORZERO = ("tensorzero==2026.6.0",)
PORTKEY = {
    "dependencies": {"@portkey-ai/gateway": "1.15.2"},
    "overrides": {"@hono/node-server": "1.14.1"},
}
"""Streams fail with a later node-server ("TypeError: immutable"): Portkey-AI/gateway, issue 1389."""

_MASTER_KEY = "sk-bench"


def _run(what: str, command: Sequence[str], **options: Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise Missing(f"{what} cannot be installed: {' '.join(last)}")


def _uv() -> str | None:
    """uv: the one that runs us, one on the path, or the workspace's own."""
    own = HERE.parents[1] / ".tools" / "bin" / "uv"
    return os.environ.get("UV") or shutil.which("uv") or (str(own) if own.exists() else None)


def _python_with(place: Place, name: str, packages: Sequence[str]) -> Path:
    """The interpreter of an environment with these packages and no others, kept in the cache."""
    directory = place.cache / re.sub(r"[^\w.=-]+", "-", f"{name}-{packages[0].partition('==')[2] or 'any'}")
    python = directory / "bin" / "python"
    complete = directory / ".complete"
    if complete.exists():
        return python
    print(f"  installing {', '.join(packages)} into {directory} ...", flush=True)
    shutil.rmtree(directory, ignore_errors=True)
    directory.parent.mkdir(parents=True, exist_ok=True)
    uv = _uv()
    if uv is not None:
        _run(name, [uv, "venv", "--quiet", "--python", sys.executable, str(directory)])
        _run(
            name, [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python), *packages]
        )
    else:
        _run(name, [sys.executable, "-m", "venv", str(directory)])
        _run(name, [str(python), "-m", "pip", "install", "--quiet", *packages])
    complete.touch()
    return python


@contextmanager
def nginx(place: Place) -> Iterator[Subject]:
    """Nginx as a plain proxy: the limit of any proxy."""
    binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if binary is None:
        raise Missing("there is no nginx here (on Debian: apt-get install nginx-light)")
    port, directory = free_port(), place.directory / "nginx"
    directory.mkdir()
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {directory / kind};" for kind in kinds)
    user = f"user {getpass.getuser()};" if os.geteuid() == 0 else ""
    config = directory / "nginx.conf"
    config.write_text(f"""{user} daemon off; worker_processes 1;
pid {directory / "pid"}; error_log {directory / "errors"};
events {{ worker_connections 4096; }}
http {{
    access_log off; {temporary} keepalive_requests 100000000; tcp_nodelay on;
    upstream provider {{ server {HOST}:{place.provider_port}; keepalive 256; keepalive_requests 100000000; }}
    server {{
        listen {HOST}:{port} backlog=1024;
        location / {{
            proxy_pass http://provider; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
        }}
    }}
}}
""")
    with place.running(Subject("nginx", port), [binary, "-c", str(config), "-p", str(directory)]) as subject:
        yield subject


def _litellm_config(place: Place, redis: RedisServer | None) -> dict[str, object]:
    """LiteLLM's own advice for production, and nothing that costs without being asked for."""
    price = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}
    config: dict[str, object] = {
        "model_list": [
            {
                "model_name": model,
                "litellm_params": {
                    "model": f"openai/{model}",
                    "api_base": place.provider_url,
                    "api_key": "none",
                    **price,
                },
            }
            for model in MODELS
        ],
        "general_settings": {"master_key": _MASTER_KEY},
        "litellm_settings": {"telemetry": False, "request_timeout": 600, "set_verbose": False},
    }
    if redis is not None:
        host, port = HOST, int(redis.url.rpartition(":")[2].partition("/")[0])
        config["router_settings"] = {"redis_host": host, "redis_port": port}
        config["litellm_settings"] = {
            "telemetry": False,
            "request_timeout": 600,
            "cache": True,
            "cache_params": {"type": "redis", "host": host, "port": port, "supported_call_types": []},
        }
    return config


@contextmanager
def _litellm(place: Place, name: str, redis: RedisServer | None) -> Iterator[Subject]:
    python = _python_with(place, "litellm", LITELLM)
    port, config = free_port(), place.directory / f"{name}.yaml"
    config.write_text(yaml.safe_dump(_litellm_config(place, redis)))
    command = [str(python.with_name("litellm")), "--config", str(config), "--host", HOST, "--port", str(port)]
    environment = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
        "LITELLM_MODE": "PRODUCTION",
    }
    subject = Subject(
        name,
        port,
        headers={"authorization": f"Bearer {_MASTER_KEY}"},
        stores=[redis.process.pid] if redis is not None else [],
    )
    with place.running(subject, [*command, "--num_workers", "1"], env=environment) as running:
        yield running


@contextmanager
def litellm(place: Place) -> Iterator[Subject]:
    """LiteLLM's proxy in its fastest form: a master key and a price map, no database, uvloop and httptools."""
    with _litellm(place, "litellm", None) as subject:
        yield subject


@contextmanager
def litellm_redis(place: Place) -> Iterator[Subject]:
    """The same, with its router's counts in Redis."""
    with on_core(LOAD_CORE):
        redis = RedisServer(own=True).start()
    try:
        with _litellm(place, "litellm-redis", redis) as subject:
            yield subject
    finally:
        redis.stop()


@contextmanager
def portkey(place: Place) -> Iterator[Subject]:
    """Portkey's gateway, which has no keys, limits or ledger of its own."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise Missing("Portkey needs Node and npm, which are not here")
    directory = place.cache / "portkey-1.15.2"
    wanted, complete = json.dumps(PORTKEY), directory / ".complete"
    if not complete.exists() or complete.read_text() != wanted:
        print(f"  installing Portkey's gateway into {directory} ...", flush=True)
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        (directory / "package.json").write_text(wanted)
        _run("portkey", [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=directory)
        complete.write_text(wanted)
    port = free_port()
    script = directory / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    headers = {
        "authorization": "Bearer none",
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": place.provider_url,
    }
    with place.running(
        Subject("portkey", port, headers=headers),
        [node, str(script), f"--port={port}", "--headless"],
        env={"TRUSTED_CUSTOM_HOSTS": HOST, "NODE_ENV": "production"},
    ) as subject:
        yield subject


@contextmanager
def tensorzero(place: Place) -> Iterator[Subject]:
    """TensorZero's gateway as its wheel holds it, with observability off."""
    python = _python_with(place, "tensorzero", TENSORZERO)
    config = place.directory / "tensorzero.toml"
    models = "".join(
        f'[models."{model}"]\nrouting = ["bench"]\n[models."{model}".providers.bench]\ntype = "openai"\n'
        f'model_name = "{model}"\napi_base = "{place.provider_url}/"\napi_key_location = "none"\n'
        for model in MODELS
    )
    config.write_text(f"[gateway]\nobservability.enabled = false\n{models}")

    def port_in(log: Path) -> int | None:
        told = re.search(r"listening on http://[^:]+:(\d+)", log.read_text() if log.exists() else "")
        return int(told[1]) if told else None

    with place.running(
        Subject("tensorzero", 0, "/openai/v1/chat/completions", model_prefix="tensorzero::model_name::"),
        [str(python), str(HERE / "start_tensorzero.py"), str(config)],
        find_port=port_in,
    ) as subject:
        yield subject
