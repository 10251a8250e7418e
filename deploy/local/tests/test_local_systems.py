"""Whole local systems: what surrounds the processes, without waiting for them to serve."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from signalbox_local import LocalError, NotReadyError, OneProcess, PortTakenError, ServicesStack


def test_the_environment_is_the_systems_own_and_the_caller_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-developer")
    monkeypatch.setenv("DATABASE_URL", "postgresql://production/")
    monkeypatch.setenv("SIGNALBOX_REDIS_URL", "redis://production/")
    system = OneProcess(tmp_path, env={"SIGNALBOX_LOG_LEVEL": "debug"}, shop=True, provider=True)
    found = system.environment()
    assert "PATH" in found
    assert "DATABASE_URL" not in found
    assert "SIGNALBOX_REDIS_URL" not in found
    assert found["SIGNALBOX_DATA"] == str(tmp_path / "data")
    assert found["SIGNALBOX_LOG_LEVEL"] == "debug"
    assert system.shop is not None
    assert json.loads(found["SIGNALBOX_VARIABLES"]) == {"shop_url": system.shop.url}
    assert json.loads(found["SIGNALBOX_OUTBOUND_ALLOW"]) == [system.shop.url.removeprefix("http://")]
    assert system.provider is not None
    assert found["OPENAI_BASE_URL"] == system.provider.url
    assert found["OPENAI_API_KEY"] != "sk-of-the-developer"
    replaced = OneProcess(tmp_path, env={"OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}, provider=True)
    assert replaced.environment()["OPENAI_BASE_URL"] == "http://127.0.0.1:1/v1"


def test_companions_answer_and_end_with_a_system_that_cannot_start(tmp_path: Path) -> None:
    system = OneProcess(tmp_path, arguments=["--no-such-option"], shop=True, provider=True)
    reached: list[int] = []

    def look(line: str) -> None:
        name, _, url = line.partition(": ")
        path = "/health" if name == "shop" else "/models"
        reached.append(httpx.get(url + path).status_code)

    system._say = look
    with pytest.raises(NotReadyError, match="signalbox ended with status"):
        system.start()
    assert reached == [200, 200]
    assert system.shop is not None
    assert system.provider is not None
    assert not system.shop.process.running
    assert not system.provider.process.running


def test_a_command_that_fails_is_shown_with_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match=r"`signalbox no-such-command` ended with [12]:"):
        OneProcess(tmp_path).run_cli("no-such-command")


def test_a_service_that_is_none_is_refused() -> None:
    with pytest.raises(LocalError, match="no service is named gateway; there are admin, llm_gateway"):
        ServicesStack(replicas={"gateway": 2})


def test_every_replica_has_a_port_and_all_are_known_to_the_others() -> None:
    stack = ServicesStack(replicas={"workflow": 2})
    assert len(set(stack.service_urls("workflow"))) == 2
    assert len(stack.service_urls("flows")) == 1


def test_a_taken_port_is_said_plainly(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(PortTakenError, match=f"port {port} is taken, so Signalbox"):
            OneProcess(tmp_path, port=port).start()
        command = [sys.executable, "-m", "signalbox_local", "services", "--data", str(tmp_path)]
        done = subprocess.run(
            [*command, "--port", str(port)], capture_output=True, text=True, timeout=20, check=False
        )
    assert done.returncode == 1
    assert f"port {port} is taken, so the edge cannot listen on it" in done.stderr
    assert "Traceback" not in done.stderr
