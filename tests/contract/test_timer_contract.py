"""Timers: a silent user is asked once, whichever replica looks first, and not at all after a message."""

from typing import Any

import pytest
from support.public_api import PublicApi, new_session
from support.systems import publish
from support.waiting import eventually

ASKED = "Still there?"


@pytest.fixture(scope="module")
def patient(admin_client: PublicApi) -> dict[str, Any]:
    """Further members of a query for a workflow that asks after a second, and closes after two more."""
    workflow_id = new_session("wf")
    document = {
        "workflow_id": workflow_id,
        "name": "Patient",
        "intents": [{"id": "hi", "when": {"keywords": ["hi"]}, "then": {"reply": "Hello."}}],
        "actions": [{"id": "leave", "type": "close", "reply": "Goodbye."}],
        "timers": [
            {"id": "ask", "delay_seconds": 1, "reply": ASKED},
            {"id": "leave", "delay_seconds": 3, "action": "leave"},
        ],
    }
    publish(admin_client, document)
    return {"workflow_id": workflow_id}


def test_silence_is_noticed_and_ends_the_session(client: PublicApi, patient: dict[str, Any]) -> None:
    sessions = [new_session() for _ in range(12)]
    for session in sessions:
        client.query("hi", session, **patient)
    eventually(
        lambda: all(client.session(session)["workflow_state"]["status"] == "closed" for session in sessions),
        "every session is closed by its timer",
        20.0,
    )
    for session in sessions:
        expected = [("user", "hi"), ("assistant", "Hello."), ("assistant", ASKED), ("assistant", "Goodbye.")]
        assert client.history(session) == expected
