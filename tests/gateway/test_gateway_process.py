"""The gateway as a process of its own: what it offers without settings, and what it keeps when it is ended."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading

import httpx
import pytest
from openai import OpenAI
from support.gateway_app import wait_for

from signalbox.common.storage.migrations import migrate
from signalbox_local import free_port

COMMANDS = {"serve": ["serve", "llm_gateway"], "up": ["up"]}


@pytest.fixture
def process(request, tmp_path):
    """``signalbox serve llm_gateway``, or ``signalbox up``, with nothing set, and its address."""
    command = COMMANDS[getattr(request, "param", "serve")]
    migrate("llm_gateway", "signalbox.llm_gateway.migrations", f"sqlite:///{tmp_path / 'llm_gateway.db'}")
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("SIGNALBOX_", "OPENAI_"))
    }
    port = free_port()
    running = subprocess.Popen(
        [sys.executable, "-m", "signalbox.common.cli", *command, "--port", str(port)],
        env={**clean, "SIGNALBOX_DATA": str(tmp_path), "SIGNALBOX_OLLAMA_URL": ""},
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"

    def up():
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{url}/ready").status_code == 200
        return False

    try:
        wait_for(up, timeout=60)
        yield running, url
    finally:
        running.kill()
        running.wait()


def rows(tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "llm_gateway.db")) as connection:
        return connection.execute("SELECT model_asked, cost_pico, priced FROM ledger_calls").fetchall()


def test_the_demo_model_streams_and_costs_nothing(process, tmp_path):
    _, url = process
    client = OpenAI(base_url=f"{url}/llm/v1", api_key="local", max_retries=0)
    chunks = list(
        client.chat.completions.create(
            model="demo", messages=[{"role": "user", "content": "hi"}], stream=True
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert len(chunks) > 5
    assert text.endswith("(demo model)")
    wait_for(lambda: rows(tmp_path) == [("demo", 0, 1)])


def test_sigterm_right_after_calls_loses_no_row(process, tmp_path):
    running, url = process
    answered = []

    def call():
        body = {"model": "demo", "messages": [{"role": "user", "content": "hi"}]}
        with httpx.Client() as client:
            answered.extend(
                client.post(f"{url}/llm/v1/chat/completions", json=body).status_code for _ in range(20)
            )

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    running.send_signal(signal.SIGTERM)
    running.wait(timeout=10)
    assert answered == [200] * 80
    assert len(rows(tmp_path)) == 80


@pytest.mark.parametrize("process", COMMANDS, indirect=True)
def test_the_commands_serve_the_hot_routes_by_the_fast_lane(process):
    _, url = process

    def taken() -> float:
        samples = [
            line for line in httpx.get(f"{url}/metrics").text.splitlines() if "lane_requests_total" in line
        ]
        return float(samples[-1].split()[-1])

    body = {"model": "demo", "messages": [{"role": "user", "content": "hi"}]}
    for count in (1, 2):
        assert httpx.post(f"{url}/llm/v1/chat/completions", json=body).status_code == 200
        assert taken() == count
    assert httpx.post(f"{url}/llm/v1/embeddings", json={"model": "demo", "input": "hi"}).status_code == 400
    assert taken() == 3
    assert httpx.get(f"{url}/llm/v1/models").status_code == 200
    assert taken() == 3
