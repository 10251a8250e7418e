"""Ctrl-C and taken ports: what was started ends at once, and what cannot start says so in one sentence."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
from support.public_api import PublicApi, new_session
from support.readiness import is_ready
from support.systems import ROOT, SHOP_WORKFLOW, publish, run_signalbox
from support.waiting import eventually

from signalbox.common.documents import parse
from signalbox_fake_provider import FakeProvider
from signalbox_local import free_port
from signalbox_local.companions import neutral_environment

pytestmark = pytest.mark.faults

ENDS_S = 5.0
SIGNALBOX = [sys.executable, "-m", "signalbox.common.cli"]


@contextmanager
def started(command: list[str], env: dict[str, str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A command that listens on a free port, once it is ready."""
    port = free_port()
    with subprocess.Popen(
        [*command, "--port", str(port)],
        env=env,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            eventually(lambda: process.poll() is not None or is_ready(url), "it is ready", 60)
            yield process, url
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def end(process: subprocess.Popen[str], number: signal.Signals) -> float:
    """Signal the process and all that it started, as a terminal does; how long it took until all had ended."""
    family = psutil.Process(process.pid).children(recursive=True)
    begun = time.monotonic()
    os.killpg(process.pid, number)
    output, _ = process.communicate(timeout=20)
    _, alive = psutil.wait_procs(family, timeout=ENDS_S)
    assert [item for item in alive if item.status() != psutil.STATUS_ZOMBIE] == []
    assert "Traceback" not in output, output[-2000:]
    return time.monotonic() - begun


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_process_ends_in_time_with_a_stream_open(tmp_path: Path, number: signal.Signals) -> None:
    with FakeProvider([{"match": {"last_user_contains": "damaged"}, "fault": "hang"}], process=True) as model:
        env = {
            **neutral_environment(),
            "OPENAI_BASE_URL": model.base_url,
            "OPENAI_API_KEY": "any",
            "SIGNALBOX_OLLAMA_URL": "",
        }
        command = [*SIGNALBOX, "up", "--data", str(tmp_path)]
        with started(command, env) as (process, url):
            api = PublicApi(url, None)
            publish(api, parse(SHOP_WORKFLOW.read_bytes()))
            with api.streaming("my tent arrived damaged", new_session()) as frames:
                assert next(frames).type == "start"
                model.wait_until(lambda seen: any(record.open for record in seen))
                took = end(process, number)
                last = list(frames)[-1]
            api.close()
    assert took < ENDS_S
    assert (last.type, last.data["code"]) == ("error", "shutting_down")


def test_make_run_ends_everything_that_it_started(tmp_path: Path) -> None:
    env = {**neutral_environment(), "SIGNALBOX_OLLAMA_URL": ""}
    command = [sys.executable, "-m", "signalbox_local", "run", "--data", str(tmp_path)]
    with started(command, env) as (process, url):
        assert PublicApi(url, None).query("where is my order 1042?")["status"] == "success"
        assert end(process, signal.SIGINT) < ENDS_S
        with pytest.raises(httpx.ConnectError):
            httpx.get(url)


def test_a_taken_port_is_said_plainly(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        env = {**neutral_environment(), "SIGNALBOX_DATA": str(tmp_path)}
        for arguments in (["up", "--port", port], ["serve", "tools", "--port", port]):
            done = run_signalbox(*arguments, env=env)
            assert done.returncode == 1
            assert f"127.0.0.1:{port}" in done.stderr
            assert "--port" in done.stderr
            assert "Traceback" not in done.stderr
            assert len(done.stderr.strip().splitlines()) == 1


def test_data_in_use_is_said_plainly(tmp_path: Path) -> None:
    env = {**neutral_environment(), "SIGNALBOX_OLLAMA_URL": ""}
    command = [*SIGNALBOX, "up", "--data", str(tmp_path)]
    with started(command, env):
        second = run_signalbox("up", "--data", str(tmp_path), "--port", str(free_port()), env=env)
        assert second.returncode == 1
        assert "in use by process" in second.stderr
        assert "Traceback" not in second.stderr


def test_another_address_without_authentication_is_refused(tmp_path: Path) -> None:
    env = {**neutral_environment(), "SIGNALBOX_DATA": str(tmp_path)}
    done = run_signalbox("up", "--host", "0.0.0.0", "--port", str(free_port()), env=env)
    assert done.returncode != 0
    assert "SIGNALBOX_AUTH=keys" in done.stderr
    assert "Traceback" not in done.stderr
