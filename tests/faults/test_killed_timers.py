"""kill -9 while timers wait and while they fire: each fires, once."""

import pytest
from support.public_api import PublicApi, new_session
from support.systems import READY_S
from support.waiting import eventually

from signalbox_local import LocalSystem, OneProcess, ServicesStack

pytestmark = pytest.mark.faults

SESSIONS = 30
DOCUMENT = {
    "workflow_id": "patient",
    "name": "Patient",
    "intents": [{"id": "hi", "when": {"keywords": ["hi"]}, "then": {"reply": "Hello."}}],
    "timers": [{"id": "ask", "delay_seconds": 2, "max_triggers": 2, "reply": "Still there?"}],
}


def fire_through_kills(api: PublicApi, system: LocalSystem) -> None:
    """Set timers of many sessions, and kill Workflow when some have fired and others have not."""
    api.call("POST", "/admin/api/v1/publish", json={"document": DOCUMENT})
    sessions = [new_session() for _ in range(SESSIONS)]
    for session in sessions:
        api.query("hi", session, workflow_id="patient")

    def fired() -> list[int]:
        return [len(api.history(session)) - 2 for session in sessions]

    for _ in range(2):
        before = sum(fired())
        eventually(lambda before=before: sum(fired()) > before, "a timer fires", 30.0)
        system.service("workflow").kill()
        system.service("workflow").start(READY_S)
        eventually(
            lambda: api.http.get("/api/v1/health").status_code == 200, "the edge routes to Workflow", 30.0
        )
    eventually(lambda: fired() == [2] * SESSIONS, "every timer has fired twice", 60.0)
    for session in sessions:
        view = api.session(session)
        assert [message["seq"] for message in view["messages"]] == [1, 2, 3, 4]


def test_timers_of_services_survive_kills(stack: ServicesStack, user: PublicApi) -> None:
    fire_through_kills(user, stack)


def test_timers_of_one_process_survive_kills(process: OneProcess) -> None:
    api = PublicApi(process.edge_url, None)
    fire_through_kills(api, process)
    api.close()
