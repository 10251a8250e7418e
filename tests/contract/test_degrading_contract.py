"""A budget is emptied in mid-conversation: the user still gets an answer, and is told that it is less than usual."""

from collections.abc import Iterator
from typing import Any

import pytest
from support.public_api import PublicApi, new_session
from support.systems import PRICED_MODEL, publish
from support.waiting import eventually

from signalbox_fake_provider import FakeProvider


@pytest.fixture
def thrifty(admin_client: PublicApi) -> Iterator[dict[str, Any]]:
    """A workflow with a skill, a reply by rule and a policy, and a budget of its own with money in it."""
    name = new_session("thrifty")
    model = {"model": PRICED_MODEL, "max_output_tokens": 50}
    publish(
        admin_client,
        {
            "workflow_id": name,
            "name": "Thrifty",
            "languages": ["en"],
            "intents": [
                {"id": "hours", "when": {"keywords": ["hours"]}, "then": {"reply": "From 9 to 17."}},
                {"id": "advice", "when": {"keywords": ["advice"]}, "then": {"skill": "adviser"}},
            ],
            "skills": [{"id": "adviser", "mode": "agent", "instructions": "Advise."}],
            "llm": {"answer": model, "match": model},
            "policies": {"degradation": {"reply": "I can only answer simple questions today."}},
        },
    )
    budget = {"of": "workflow", "only": name, "window": "day"}
    admin_client.call("PUT", f"/llm/v1/budgets/{name}", json={**budget, "amount": "10"})
    yield {"workflow_id": name, "budget": budget}
    admin_client.http.delete(f"/llm/v1/budgets/{name}")


def test_a_budget_emptied_in_mid_conversation_still_gets_the_user_an_answer(
    client: PublicApi, admin_client: PublicApi, provider: FakeProvider, thrifty: dict[str, Any]
) -> None:
    workflow, session, token = {"workflow_id": thrifty["workflow_id"]}, new_session(), new_session("tok")
    provider.script([{"match": {"last_user_contains": token}, "reply": {"content": "Buy low, sell high."}}])
    rich = client.query(f"some advice {token}", session, **workflow)
    assert (rich["status"], rich["message"]) == ("success", "Buy low, sell high."), (
        rich["reason"],
        rich["decision"],
    )

    small = {**thrifty["budget"], "amount": "0.000001"}
    admin_client.call("PUT", f"/llm/v1/budgets/{workflow['workflow_id']}", json=small)

    def refused() -> bool:
        """The change holds within 5 s on every replica."""
        return client.query(f"some advice {token}", new_session(), **workflow)["status"] == "degraded"

    eventually(lambda: all(refused() for _ in range(4)), "the budget is empty on every replica", 15.0)
    poor = client.query(f"some advice {token}", session, **workflow)
    assert (poor["status"], poor["reason"]) == ("degraded", "budget_exceeded")
    assert poor["message"] == "I can only answer simple questions today."
    unclear = client.query(f"hm {token}", session, **workflow)
    assert (unclear["status"], unclear["reason"]) == ("degraded", "budget_exceeded")
    plain = client.query("your hours please", session, **workflow)
    assert (plain["status"], plain["message"]) == ("success", "From 9 to 17.")
    assert [role for role, _ in client.history(session)] == ["user", "assistant"] * 4
