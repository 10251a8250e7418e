"""The example's skills with a model, in every shape: sub-skills side by side, data as an answer, a write with a yes.

The model is scripted; the dialogues, the shop and everything between them are real.
"""

from typing import Any

from support.public_api import PublicApi, new_session
from support.systems import RunningSystem

from signalbox.common.dialogues import Dialogue, as_lines, play_all
from signalbox_fake_provider import FakeProvider


def played(client: PublicApi, *turns: dict[str, Any]) -> None:
    """Play one dialogue with the example; it must go as it says."""
    dialogue = Dialogue.model_validate({"id": "it", "workflow": "shop", "turns": list(turns)})
    (outcome,) = play_all(client.http, [dialogue])
    assert outcome.passed, "\n".join(as_lines(outcome))


def test_a_trip_is_planned_by_sub_skills_and_told_in_the_shops_words(
    client: PublicApi, provider: FakeProvider
) -> None:
    token = new_session("trip")
    jacket = {"sku": "JKT-1001", "name": "Jacket", "price": "89.90 EUR"}
    plan = {"articles": [jacket], "arrives_by": "2030-01-07"}
    parts = [
        {"name": "subtask_clothing", "arguments": {"message": f"{token}-clothing"}},
        {"name": "subtask_gear", "arguments": {"message": f"{token}-gear"}},
        {"name": "subtask_delivery", "arguments": {"country": "France"}},
    ]
    search = {"name": "search_products", "arguments": {"query": "waterproof jacket", "category": "jackets"}}
    provider.script(
        [
            {
                "match": {"last_user_contains": f"{token}-clothing", "has_tool_result": False},
                "reply": {"tool_calls": [search]},
            },
            {"match": {"last_user_contains": f"{token}-clothing"}, "reply": "The jacket JKT-1001."},
            {"match": {"last_user_contains": f"{token}-gear"}, "reply": "No gear is needed."},
            {"match": {"last_user_contains": token, "has_tool_result": False}, "reply": {"tool_calls": parts}},
            {"match": {"last_user_contains": token}, "reply": {"json": plan}},
        ]
    )  # fmt: skip
    played(
        client,
        {
            "user": f"plan my hiking trip to France, {token}",
            "intent": "plan_trip",
            "reply_contains": "For your trip: Jacket (JKT-1001, 89.90 EUR). Ordered today, it arrives by 2030-01-07.",
        },
    )
    last = [one.body["messages"] for one in provider.requests() if token in str(one.body)][-1]
    told = [str(message["content"]) for message in last if message["role"] == "tool"]
    assert len(told) == 3
    assert "The jacket JKT-1001." in told[0]
    assert "No gear is needed." in told[1]
    assert "France" in told[2]


def test_a_return_that_a_model_wants_is_started_after_a_yes(
    client: PublicApi, system: RunningSystem, provider: FakeProvider
) -> None:
    token, order = new_session("tent"), system.orders.fresh("returnable")
    wish = {"name": "create_return", "arguments": {"order_number": order, "reason": "damaged"}}
    provider.script(
        [
            {"match": {"last_user_contains": token, "has_tool_result": False}, "reply": {"tool_calls": [wish]}},
            {"match": {"last_user_contains": token}, "reply": "Your return is set up."},
        ]
    )  # fmt: skip
    opening = {
        "user": f"my tent arrived damaged, {token}",
        "intent": "order_problem",
        "status": "waiting",
        "reason": "approval",
        "reply_contains": f"start the return of order {order}",
    }
    played(client, opening, {"choose": "no", "calls": [{"tool": "create_return", "ok": False}]})
    assert system.orders.returns_of(order) == 0
    played(
        client,
        opening,
        {"choose": "yes", "calls": [{"tool": "create_return"}], "reply": "Your return is set up."},
    )
    assert system.orders.returns_of(order) == 1
