"""Publishing: in effect on every replica at once, idempotent, rolled back; invalid documents leave nothing."""

import time
from pathlib import Path
from typing import Any

import pytest
from support.public_api import Problem, PublicApi, new_session
from support.systems import RunningSystem, publish

EFFECT_S = 2.0


def document(workflow_id: str, text: str) -> dict[str, Any]:
    return {
        "workflow_id": workflow_id,
        "name": "Release notes",
        "intents": [{"id": "which", "when": {"keywords": ["which"]}, "then": {"reply": text}}],
    }


@pytest.fixture
def workflow_id() -> str:
    return new_session("wf")


def asked_everywhere(client: PublicApi, system: RunningSystem, workflow_id: str) -> set[str]:
    """What every replica answers now."""
    answers = set()
    for url in system.workflow_urls():
        replica = PublicApi(url, client.key)
        answers.add(replica.query("which", workflow_id=workflow_id)["message"])
        replica.close()
    return answers


def test_a_release_is_in_effect_everywhere_when_its_answer_comes(
    client: PublicApi, admin_client: PublicApi, system: RunningSystem, workflow_id: str
) -> None:
    for number in range(1, 4):
        reply = publish(admin_client, document(workflow_id, f"Release {number}."), message=f"m{number}")
        answered = time.monotonic()
        assert (reply["release"]["number"], reply["changed"]) == (number, True)
        assert asked_everywhere(client, system, workflow_id) == {f"Release {number}."}
        assert time.monotonic() - answered < EFFECT_S


def test_activating_takes_at_most_two_seconds(
    client: PublicApi, admin_client: PublicApi, system: RunningSystem, workflow_id: str
) -> None:
    publish(admin_client, document(workflow_id, "Old."))
    stored = publish(admin_client, document(workflow_id, "New."), activate=False)
    assert stored["release"] is None
    assert asked_everywhere(client, system, workflow_id) == {"Old."}
    started = time.monotonic()
    reply = admin_client.call(
        "POST",
        f"/admin/api/v1/workflows/{workflow_id}/activate",
        json={"config_hash": stored["snapshot"]["config_hash"]},
    )
    answers = asked_everywhere(client, system, workflow_id)
    assert time.monotonic() - started < EFFECT_S
    assert reply["release"]["number"] == 2
    assert answers == {"New."}


def test_a_rollback_is_a_new_release_of_the_old_snapshot(
    client: PublicApi, admin_client: PublicApi, system: RunningSystem, workflow_id: str
) -> None:
    first = publish(admin_client, document(workflow_id, "Good."))["snapshot"]["config_hash"]
    publish(admin_client, document(workflow_id, "Bad."))
    back = admin_client.call(
        "POST", f"/admin/api/v1/workflows/{workflow_id}/activate", json={"config_hash": first}
    )
    assert (back["release"]["number"], back["release"]["config_hash"]) == (3, first)
    assert asked_everywhere(client, system, workflow_id) == {"Good."}
    releases = admin_client.call("GET", "/admin/api/v1/releases", params={"workflow_id": workflow_id})[
        "items"
    ]
    assert [(item["number"], item["active"]) for item in releases] == [(3, True), (2, False), (1, False)]


def test_publishing_the_same_again_changes_nothing(admin_client: PublicApi, workflow_id: str) -> None:
    first = publish(admin_client, document(workflow_id, "Same."))
    again = publish(admin_client, document(workflow_id, "Same."))
    assert again["changed"] is False
    assert again["release"]["number"] == first["release"]["number"] == 1
    assert again["snapshot"]["config_hash"] == first["snapshot"]["config_hash"]
    listed = admin_client.call("GET", "/admin/api/v1/snapshots", params={"workflow_id": workflow_id})["items"]
    assert [item["config_hash"] for item in listed] == [first["snapshot"]["config_hash"]]


def test_snapshots_are_listed_by_hash_and_kept_as_submitted(
    admin_client: PublicApi, workflow_id: str
) -> None:
    documents = [document(workflow_id, f"Number {number}.") for number in range(3)]
    hashes = [publish(admin_client, item)["snapshot"]["config_hash"] for item in documents]
    assert len(set(hashes)) == 3
    found, after = [], None
    while True:
        params = {"workflow_id": workflow_id, "limit": 2} | ({"after": after} if after else {})
        page = admin_client.call("GET", "/admin/api/v1/snapshots", params=params)
        found += [item["config_hash"] for item in page["items"]]
        after = page["next_after"]
        if after is None:
            break
    assert found == hashes[::-1]
    for config_hash, submitted in zip(hashes, documents, strict=True):
        kept = admin_client.call("GET", f"/admin/api/v1/snapshots/{config_hash}")
        assert kept["document"] == submitted


def test_an_open_flow_ends_on_the_release_that_it_began_with(
    client: PublicApi, admin_client: PublicApi, workflow_id: str
) -> None:
    def flow(text: str) -> dict[str, Any]:
        return {
            **document(workflow_id, "-"),
            "intents": [{"id": "go", "when": {"keywords": ["go"]}, "then": {"flow": "ask"}}],
            "flows": [
                {
                    "id": "ask",
                    "slots": [{"id": "name", "prompt": "Who?"}],
                    "steps": [{"type": "ask", "slot": "name"}, {"type": "reply", "text": text}],
                }
            ],
        }

    publish(admin_client, flow("Old {{ slots.name }}."))
    session = new_session()
    assert client.query("go", session, workflow_id=workflow_id)["status"] == "waiting"
    publish(admin_client, flow("New {{ slots.name }}."))
    assert client.query("Ada", session)["message"] == "Old Ada."
    client.query("go", session)
    assert client.query("Ada", session)["message"] == "New Ada."


TEN_ERRORS: dict[str, Any] = {
    "workflow_id": "ten errors",
    "name": "",
    "surprise": 1,
    "intents": [
        {"id": "twice", "when": {"patterns": ["(unclosed"]}, "then": {"flow": "nowhere"}},
        {"id": "twice", "when": {"keywords": ["x"]}, "then": {"reply": "{{ broken"}},
        {"id": "lost", "when": {"keywords": ["y"]}},
    ],
    "flows": [
        {
            "id": "f",
            "steps": [
                {"type": "ask", "slot": "missing"},
                {"type": "reply", "text": "hello", "next": "no_step"},
                {"type": "dance"},
            ],
        }
    ],
    "tools": [
        {
            "id": "t",
            "request": {"url": "https://crm.example/x"},
            "auth": {"type": "bearer", "token": "hunter2-hunter2"},
            "timeout_ms": "soon",
        }
    ],
}
TEN_POINTERS = {
    "/workflow_id",
    "/name",
    "/surprise",
    "/intents/0/when/patterns/0",
    "/intents/0/then/flow",
    "/intents/1/id",
    "/intents/1/then/reply",
    "/intents/2/then",
    "/flows/0/steps/0/slot",
    "/flows/0/steps/1/next",
    "/flows/0/steps/2/type",
    "/tools/0/auth/token",
    "/tools/0/timeout_ms",
}


def test_every_error_of_a_document_is_named_at_once_and_nothing_is_stored(
    admin_client: PublicApi, system: RunningSystem
) -> None:
    def stored() -> list[int]:
        return [system.stores.count("admin", table) for table in ("admin_snapshots", "admin_releases")]

    before = stored()
    with pytest.raises(Problem) as refused:
        publish(admin_client, TEN_ERRORS)
    problem = refused.value
    assert (problem.status, problem.code) == (422, "invalid_document")
    pointers = {error["pointer"] for error in problem.body["errors"]}
    assert pointers >= TEN_POINTERS
    assert len({error["code"] for error in problem.body["errors"]}) >= 8
    assert all(error["detail"].endswith((".", "?")) for error in problem.body["errors"])
    assert "hunter2" not in problem.response.text
    assert stored() == before
    checked = admin_client.call("POST", "/admin/api/v1/validate", json={"document": TEN_ERRORS})
    assert checked["valid"] is False
    assert {error["pointer"] for error in checked["errors"]} == pointers


def test_the_command_publishes_and_says_what_is_wrong(
    admin_client: PublicApi, client: PublicApi, system: RunningSystem, workflow_id: str, tmp_path: Path
) -> None:
    file = tmp_path / "workflow.yaml"
    file.write_text(
        f"workflow_id: {workflow_id}\nname: By file\n"
        "intents:\n  - {id: which, when: {keywords: [which]}, then: {reply: From the file.}}\n"
    )
    environment = {**system.local.environment(), "SIGNALBOX_API_KEY": admin_client.key or ""}
    from support.systems import run_signalbox

    done = run_signalbox("publish", str(file), "--url", system.url, env=environment)
    assert done.returncode == 0, done.stderr
    assert "release 1 is the active one" in done.stdout
    assert asked_everywhere(client, system, workflow_id) == {"From the file."}
    file.write_text(file.read_text().replace("reply: From", "answer: From"))
    failed = run_signalbox("publish", str(file), "--url", system.url, env=environment)
    assert failed.returncode == 1
    assert "/intents/0/then" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_what_is_not_published_cannot_be_activated(admin_client: PublicApi, workflow_id: str) -> None:
    publish(admin_client, document(workflow_id, "x"))
    path = f"/admin/api/v1/workflows/{workflow_id}/activate"
    assert admin_client.problem("POST", path, json={"config_hash": "0" * 64}).status == 404
    assert admin_client.problem("POST", path, json={"config_hash": "short"}).status == 422
