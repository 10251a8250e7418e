"""``signalbox doctor`` as a person runs it."""

import os
import subprocess
import sys

import pytest
from support.gateway_app import deployment


def doctor(tmp_path, *arguments, **environment):
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("SIGNALBOX_", "OPENAI_"))
    }
    return subprocess.run(
        [sys.executable, "-m", "signalbox.common.cli", "doctor", *arguments],
        env={**clean, "SIGNALBOX_OLLAMA_URL": "", **environment},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def results(output):
    rows = [line.split() for line in output.splitlines() if line.split()[:1] and line.split()[0] in ROLES]
    return {(row[0], row[2]): row[3] for row in rows}


ROLES = {"match", "decide", "answer", "embed"}


def test_without_any_model_the_demo_model_passes_what_it_can(tmp_path):
    run = doctor(tmp_path)
    assert run.returncode == 0, run.stderr
    assert results(run.stdout) == {
        ("match", "json"): "ok",
        ("decide", "json"): "ok",
        ("answer", "text"): "ok",
        ("answer", "tools"): "ok",
        ("embed", "embeddings"): "no",
    }
    assert list(tmp_path.iterdir()) == []


def test_a_running_gateway_is_asked_and_a_model_that_cannot_is_named(start_gateway, provider, tmp_path):
    gateway = start_gateway(
        llm_deployments=[
            deployment(provider),
            deployment(provider, "fake-embedding", capabilities={"chat": False, "embeddings": True}),
        ]
    )
    provider.script(
        [
            {"match": {"last_user_contains": "hello"}, "reply": "Hello!"},
            {"match": {"endpoint": "embeddings"}},
            {"reply": {"json": {"intent": "order_status", "confidence": 0.9}}},
        ]
    )
    run = doctor(tmp_path, "--url", gateway.url)
    assert run.returncode == 1
    assert results(run.stdout) == {
        ("match", "json"): "ok",
        ("decide", "json"): "ok",
        ("answer", "text"): "ok",
        ("answer", "tools"): "FAILS",
        ("embed", "embeddings"): "ok",
    }
    assert '{"tools": false}' in run.stdout


def test_a_model_without_tools_passes_through_the_gateways_fallback_and_that_is_said(
    start_gateway, provider, tmp_path
):
    gateway = start_gateway(llm_deployments=[deployment(provider)])
    refusal = {"status": 400, "message": "fake-model does not support tools"}
    called = '{"tool_calls": [{"name": "get_order", "arguments": {"order_number": 1042}}]}'
    provider.script(
        [
            {"match": {"last_user_contains": "with the tool"}, "fault": refusal, "times": 1},
            {"match": {"last_user_contains": "with the tool"}, "reply": called},
            {"match": {"last_user_contains": "hello"}, "reply": "Hello!"},
            {"reply": {"json": {"intent": "order_status", "confidence": 0.9}}},
        ]
    )
    run = doctor(tmp_path, "--url", gateway.url)
    assert run.returncode == 0, run.stdout
    assert "the model has no tools of its own" in run.stdout


@pytest.mark.parametrize("url", ["http://127.0.0.1:9"])
def test_a_url_where_nobody_listens_is_said(tmp_path, url):
    run = doctor(tmp_path, "--url", url)
    assert run.returncode == 1
    assert "No Signalbox answers" in run.stderr
