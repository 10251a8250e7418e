"""The services shape around stand-ins for the services: real stores, a real edge, real processes.

The stand-ins take the place of ``signalbox.common.cli`` on the import path; they know the commands that the
stack gives and answer every request with their service, process id and addresses. The services themselves are
tested in ``tests/contract``.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest

from signalbox_local import ServicesStack, free_port

STAND_IN = """
import json, os, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SHOWN = ("SIGNALBOX_DATABASE_URL", "SIGNALBOX_REDIS_URL", "SIGNALBOX_WORKFLOW_URL", "SIGNALBOX_DATA", "EXTRA")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = {name: os.environ.get(name) for name in SHOWN} | {"service": sys.argv[2], "pid": os.getpid()}
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_POST = do_GET

    def log_message(self, *arguments):
        pass


if sys.argv[1] in {"serve", "worker"}:
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[-1])), Handler).serve_forever()
print(" ".join(sys.argv[1:]), os.environ["SIGNALBOX_SERVICE_SECRET"])
"""


@pytest.fixture(scope="module")
def import_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stand-in")
    package = root / "signalbox" / "common" / "cli"
    package.mkdir(parents=True)
    for file in (package.parent / "__init__.py", package / "__init__.py"):
        file.touch()
    (package / "__main__.py").write_text(STAND_IN)
    return root


@pytest.fixture(scope="module")
def stack(import_path: Path) -> Iterator[ServicesStack]:
    with ServicesStack(
        replicas={"workflow": 2},
        env={"PYTHONPATH": str(import_path)},
        service_env={"llm_gateway": {"EXTRA": "for the gateway alone"}},
    ) as running:
        yield running
    assert not running.directory.exists()


def served(stack: ServicesStack, path: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(stack.edge_url + path).json()
    return found


def test_the_edge_reaches_every_replica_and_the_services_their_stores(stack: ServicesStack) -> None:
    replies = [served(stack, "/api/v1/health") for _ in range(6)]
    assert {reply["pid"] for reply in replies} == {stack.service("workflow", i).pid for i in (0, 1)}
    assert replies[0]["SIGNALBOX_WORKFLOW_URL"] == ",".join(stack.service_urls("workflow"))
    assert len({reply["SIGNALBOX_DATA"] for reply in replies}) == 2
    with psycopg.connect(replies[0]["SIGNALBOX_DATABASE_URL"]) as connection:
        assert connection.execute("SELECT current_database()").fetchone() == ("signalbox",)
    assert replies[0]["SIGNALBOX_REDIS_URL"] == stack.redis.url
    assert httpx.get(f"{stack.edge_url}/internal/v1/flows/run").status_code == 404


def test_a_service_may_have_variables_of_its_own(stack: ServicesStack) -> None:
    assert served(stack, "/llm/v1/models")["EXTRA"] == "for the gateway alone"
    assert served(stack, "/console")["EXTRA"] is None


def test_a_killed_service_comes_back_at_its_address(stack: ServicesStack) -> None:
    gateway = stack.service("llm_gateway")
    first = gateway.pid
    gateway.kill()
    with pytest.raises(httpx.ConnectError):
        httpx.get(stack.service_urls("llm_gateway")[0])
    gateway.restart()
    (url,) = stack.service_urls("llm_gateway")
    assert httpx.get(url).json()["pid"] == gateway.pid != first


def test_a_dead_replica_leaves_the_rotation_and_the_other_serves(stack: ServicesStack) -> None:
    stack.service("workflow", 1).kill()
    deadline = time.monotonic() + 8
    answers: list[int] = []
    while answers[-6:] != [200] * 6 and time.monotonic() < deadline:
        answers.append(httpx.post(f"{stack.edge_url}/api/v1/query/stream").status_code)
    assert answers[-6:] == [200] * 6
    assert set(answers) <= {200, 502}
    stack.service("workflow", 1).start()


def test_commands_run_in_its_environment(stack: ServicesStack) -> None:
    words = stack.run_cli("publish", "file.yaml").split()
    assert words[:2] == ["publish", "file.yaml"]
    assert len(words[2]) >= 32


def test_all_processes_are_named(stack: ServicesStack) -> None:
    services = {
        "worker-0",
        "admin-0",
        "flows-0",
        "llm_gateway-0",
        "skills-0",
        "tools-0",
        "workflow-0",
        "workflow-1",
    }
    assert set(stack.processes()) >= services | {"traefik"}
    assert all(process.running for process in stack.processes().values())


def test_the_command_keeps_its_data_and_ends_everything_in_time(import_path: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "signalbox_local", "services", "--port", str(free_port()), "--no-shop"]
    environment = {**os.environ, "PYTHONPATH": str(import_path)}
    with subprocess.Popen(
        [*command, "--data", str(tmp_path / "kept")], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        lines = list(iter_until(process, "ready at "))
        family = psutil.Process(process.pid).children(recursive=True)
        url = re.search(r"ready at (\S+);", lines[-1])
        assert url is not None
        assert httpx.get(f"{url[1]}/api/v1/health").json()["service"] == "workflow"
        assert any(line.startswith("postgres: postgresql://") for line in lines)
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
        assert time.monotonic() - started < 5
    _gone, alive = psutil.wait_procs(family, timeout=2)
    assert [member for member in alive if member.status() != psutil.STATUS_ZOMBIE] == []
    assert (tmp_path / "kept" / "logs" / "workflow-0.log").exists()


def iter_until(process: subprocess.Popen[str], wanted: str) -> Iterator[str]:
    assert process.stdout is not None
    for line in process.stdout:
        yield line
        if line.startswith(wanted):
            return
    raise AssertionError(f"ended with {process.wait()} before it said {wanted!r}")
