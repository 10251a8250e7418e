"""Schemas of another release, of documents and of tables: named in a sentence, while everything else is served."""

import hashlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from support.public_api import Problem, PublicApi, new_session
from support.systems import READY_S, run_signalbox
from support.traffic import Traffic

from signalbox_local import ManagedProcess, OneProcess, free_port
from signalbox_local.companions import neutral_environment
from signalbox_local.ports import HOST
from signalbox_local.system import signalbox_command

pytestmark = pytest.mark.faults

OLD = '{"intents":[],"name":"Old","schema_version":"0","workflow_id":"old"}'


def test_documents_of_another_schema_are_named_and_others_served(process: OneProcess) -> None:
    api = PublicApi(process.edge_url, None)
    with pytest.raises(Problem) as refused:
        api.call(
            "POST", "/admin/api/v1/publish", json={"document": {"workflow_id": "old", "schema_version": "0"}}
        )
    assert "unsupported_schema_version" in {error["code"] for error in refused.value.body["errors"]}
    new = {"workflow_id": "old", "name": "Old", "intents": []}
    stored = api.call("POST", "/admin/api/v1/publish", json={"document": new})["snapshot"]["config_hash"]
    with Traffic(process.edge_url) as traffic:
        traffic.wait_for(more_acknowledged=8)
        process.kill()
        # As a release left it whose documents this one does not read.
        name = hashlib.sha256(OLD.encode()).hexdigest()
        with sqlite3.connect(process.data / "admin.db") as admin:
            for table in ("admin_snapshots", "admin_releases", "admin_release_pointers"):
                admin.execute(f"UPDATE {table} SET config_hash = ? WHERE config_hash = ?", (name, stored))
            admin.execute("UPDATE admin_snapshots SET document = ? WHERE config_hash = ?", (OLD, name))
        admin.close()
        process.restart(READY_S)
        with pytest.raises(Problem) as unread:
            api.query("hello", new_session(), workflow_id="old")
        assert unread.value.code == "unsupported_schema_version", unread.value.body
        traffic.wait_for(more_acknowledged=8)
    traffic.check().print("19 old schemas", refused=refused.value.code, unread=unread.value.code)
    api.close()


def test_tables_of_an_older_release_are_named(tmp_path: Path) -> None:
    env = {**neutral_environment(), "SIGNALBOX_DATA": str(tmp_path), "SIGNALBOX_OLLAMA_URL": ""}
    assert run_signalbox("migrate", env=env).returncode == 0
    with sqlite3.connect(tmp_path / "workflow.db") as tables:
        tables.execute("DROP TABLE workflow_tasks")
    tables.close()
    port = free_port()
    command = signalbox_command("serve", "workflow", "--port", str(port))
    with ManagedProcess("workflow", command, log=tmp_path / "workflow.log", env=env, ready=_listens(port)):
        answer = httpx.get(f"http://{HOST}:{port}/api/v1/tasks", trust_env=False)
    assert (answer.status_code, answer.json()["code"]) == (503, "schema_missing"), answer.text
    assert "signalbox migrate" in answer.json()["detail"]


def _listens(port: int) -> Callable[[], bool]:
    def listens() -> bool:
        try:
            return httpx.get(f"http://{HOST}:{port}/live", trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    return listens
