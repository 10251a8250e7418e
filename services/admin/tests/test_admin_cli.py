"""The operator's commands against the real app, called in memory."""

import asyncio
import functools
import json

import httpx
import pytest
from support.admin_app import FakeBuilder, document
from typer.testing import CliRunner

from signalbox.admin.app import create_app
from signalbox.admin.cli import app as cli
from signalbox.common.cli.http import Refused
from signalbox.common.errors import BadRequest
from signalbox.common.transport import lifespans
from signalbox.contracts.problem import ProblemError


class InMemory(httpx.BaseTransport):
    """Answers each request by an app of its own, as after a restart."""

    def __init__(self, settings):
        self._settings = settings

    def handle_request(self, request):
        return asyncio.run(self._answer(request))

    async def _answer(self, request):
        app = create_app(self._settings, builder=FakeBuilder())
        content = request.read()
        async with lifespans([app]), httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
            reply = await client.request(
                request.method, request.url, content=content, headers=request.headers
            )
            return httpx.Response(reply.status_code, headers=reply.headers, content=reply.content)


@pytest.fixture
def run(admin_settings, monkeypatch, tmp_path):
    """Run a command; what it would reach by HTTP is an app on the test's database."""
    monkeypatch.setenv("SIGNALBOX_DATA", str(tmp_path))
    for name in ("SIGNALBOX_API_KEY", "SIGNALBOX_AUTH", "DATABASE_URL", "SIGNALBOX_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    client = functools.partial(httpx.Client, transport=InMemory(admin_settings))
    monkeypatch.setattr("signalbox.common.cli.http.httpx.Client", client)

    def invoke(*arguments):
        result = CliRunner().invoke(cli, list(arguments))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.stdout

    return invoke


@pytest.fixture
def workflow_file(tmp_path):
    path = tmp_path / "workflow.yaml"
    path.write_text(json.dumps(document()), encoding="utf-8")
    return path


def test_publish_prints_the_hash_and_the_release(run, workflow_file):
    printed = run("publish", str(workflow_file), "--message", "first")
    assert "snapshot " in printed
    assert "release 1 is the active one of shop in default" in printed
    assert "release 1 was already the active one" in run("publish", str(workflow_file))
    listed = run("releases")
    assert listed.startswith("*    1  ")
    assert listed.endswith("first\n")


def test_publish_without_activation_says_so(run, workflow_file):
    assert "stored, not activated" in run("publish", str(workflow_file), "--no-activate")
    assert run("releases", "--workflow", "shop") == ""


def test_an_invalid_file_is_refused_with_its_errors(run, tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("workflow_id: shop\nname: Shop\ngreting: hi\n", encoding="utf-8")
    with pytest.raises(Refused) as refused:
        run("publish", str(path))
    [error] = refused.value.errors
    assert isinstance(error, ProblemError)
    assert (error.pointer, error.code) == ("/greting", "unknown_field")


def test_keys_are_created_listed_and_revoked(run):
    key = run("keys", "create", "--name", "mine", "--scope", "query", "--scope", "llm").strip()
    key_id = key.split("_")[1]
    first, second = run("keys", "list").splitlines()
    assert first.startswith(key_id)
    assert first.endswith("active    mine")
    assert second.strip() == "llm, query; workflows: all; models: all"
    assert run("keys", "revoke", key_id) == f"revoked {key_id} (mine)\n"
    assert "revoked" in run("keys", "list")


def test_what_a_key_may_call_is_said_and_changed(run):
    limits = ("--model", "small", "--model", "large", "--max-output", "100", "--priority", "5")
    key_id = run("keys", "create", "--name", "mine", "--scope", "llm", *limits).split("_")[1]
    assert "models: large, small; output: 100 tokens; priority: 5" in run("keys", "list")
    changed = run("keys", "change", key_id, "--model", "small", "--priority", "0")
    assert changed == f"{key_id} (mine): models: small; output: 100 tokens\n"
    run("keys", "change", key_id, "--all-models")
    assert "models: all; output: 100 tokens" in run("keys", "list")


def test_where_keys_are_needed_the_first_one_is_made_offline(run, monkeypatch):
    monkeypatch.setenv("SIGNALBOX_AUTH", "keys")
    with pytest.raises(BadRequest, match="--offline"):
        run("keys", "create", "--name", "x")
    first = run(
        "keys", "create", "--offline", "--tenant", "acme", "--name", "x", "--scope", "keys:write"
    ).strip()
    monkeypatch.setenv("SIGNALBOX_API_KEY", first)
    assert first.split("_")[1] in run("keys", "list")


def test_a_tenant_is_named_offline_alone(run):
    with pytest.raises(BadRequest, match="--offline"):
        run("keys", "create", "--name", "x", "--tenant", "acme")
