"""Work that no client waits for: async queries, batches, schedules, webhooks; by workers or in the process itself."""

import json
from typing import Any

import pytest
from standardwebhooks import Webhook
from support.public_api import Problem, PublicApi, new_session
from support.shapes import BATCH, SCHEDULE, TASK, TASK_ACCEPTED, check
from support.systems import WEBHOOK_SECRET, RunningSystem
from support.waiting import eventually

OVER = {"success", "failed", "cancelled"}


def post(api: PublicApi, message: str, session: str | None = None, **more: Any) -> dict[str, Any]:
    headers = {"Idempotency-Key": more.pop("key")} if "key" in more else {}
    body = {"message": message, "session_id": session or new_session(), **more}
    accepted: dict[str, Any] = api.call("POST", "/api/v1/query/async", json=body, headers=headers)
    check(accepted, TASK_ACCEPTED)
    assert accepted["session_id"] == body["session_id"]
    return accepted


def look(api: PublicApi, task_id: str) -> dict[str, Any]:
    view: dict[str, Any] = api.call("GET", f"/api/v1/task/{task_id}")
    check(view, TASK)
    return view


def ended(api: PublicApi, task_id: str) -> dict[str, Any]:
    def over() -> dict[str, Any] | None:
        view = look(api, task_id)
        return view if view["status"] in OVER else None

    return eventually(over, f"{task_id} is over", 20.0)


def test_an_async_query_is_accepted_and_its_result_is_the_reply(client: PublicApi) -> None:
    session = new_session()
    accepted = post(client, "hello", session)
    done = ended(client, accepted["task_id"])
    assert (done["status"], done["error"]) == ("success", None)
    assert client.turn(done["result"]["turn_id"])["reply"]["message"] == done["result"]["message"]
    assert client.history(session) == [("user", "hello"), ("assistant", done["result"]["message"])]


def test_what_cannot_be_answered_is_a_failed_task_with_the_problem(client: PublicApi) -> None:
    failed = ended(client, post(client, "hello", workflow_id="nobody-published-this")["task_id"])
    assert (failed["status"], failed["result"]) == ("failed", None)
    assert failed["error"]["status"] == 404


def test_a_bad_body_is_refused_at_once(client: PublicApi) -> None:
    refused = client.problem("POST", "/api/v1/query/async", json={"message": "hi"})
    assert (refused.status, refused.body["errors"][0]["pointer"]) == (422, "/session_id")


def test_a_repeated_key_is_one_task(client: PublicApi) -> None:
    session = new_session()
    first, second = (post(client, "hello", session, key=session) for _ in range(2))
    assert first == second
    assert (
        client.problem(
            "POST",
            "/api/v1/query/async",
            json={"message": "other", "session_id": session},
            headers={"Idempotency-Key": session},
        ).code
        == "idempotency_key_reused"
    )
    ended(client, first["task_id"])
    assert len(client.history(session)) == 2


@pytest.mark.usefixtures("with_keys")
def test_tasks_are_404_to_other_principals(
    client: PublicApi, admin_client: PublicApi, other: PublicApi
) -> None:
    task_id = post(client, "hello")["task_id"]
    for api in (admin_client, other):
        assert api.problem("GET", f"/api/v1/task/{task_id}").code == "task_not_found"
        assert api.problem("POST", f"/api/v1/task/{task_id}/cancel").status == 404
    ended(client, task_id)


def test_tasks_are_listed_by_status(client: PublicApi) -> None:
    task_id = post(client, "hello")["task_id"]
    ended(client, task_id)
    page = client.call("GET", "/api/v1/tasks", params={"status": "success", "limit": 1})
    check(page["items"][0], TASK)
    assert page["items"][0]["task_id"] == task_id
    assert client.problem("GET", "/api/v1/tasks", params={"status": "lost"}).status == 422


def test_cancelling_a_running_task_reaches_its_turn(
    client: PublicApi, system: RunningSystem, probe: dict[str, Any]
) -> None:
    gate = new_session("gate")
    session = new_session()
    task_id = post(client, f"wait at {gate}", session, **probe)["task_id"]
    eventually(lambda: system.backend.received(f"/gate/{gate}"), "the turn waits at the gate", 20.0)
    assert look(client, task_id)["status"] == "running"
    client.call("POST", f"/api/v1/task/{task_id}/cancel")
    assert ended(client, task_id)["status"] == "cancelled"
    system.backend.open_gate(gate)
    assert client.query("say done", session, **probe)["message"].endswith("You said done.")


@pytest.mark.usefixtures("with_keys")
def test_a_result_is_delivered_signed(
    client: PublicApi, system: RunningSystem, probe: dict[str, Any]
) -> None:
    path = f"/hook/{new_session()}"
    task_id = post(client, "say ho", webhook={"url": f"{system.backend.url}{path}"}, **probe)["task_id"]
    [delivered] = eventually(lambda: system.backend.received(path), "the webhook is delivered", 20.0)
    told = Webhook(WEBHOOK_SECRET).verify(delivered.body, delivered.headers)
    assert told["type"] == "task.success"
    assert told["data"]["task_id"] == task_id
    assert told["data"]["result"] == look_result(client, task_id)


def look_result(client: PublicApi, task_id: str) -> dict[str, Any]:
    """The result without the members that have no value."""
    return json.loads(
        json.dumps(look(client, task_id)["result"]),
        object_hook=lambda d: {k: v for k, v in d.items() if v is not None},
    )


def test_a_webhook_is_refused_that_could_not_be_signed(client: PublicApi) -> None:
    target = {"url": "https://example.com/hook", "secret": "secret:webhook-nobody-has"}
    body = {"message": "hi", "session_id": new_session(), "webhook": target}
    assert client.problem("POST", "/api/v1/query/async", json=body).code == "webhook_secret_missing"


def test_a_batch_has_progress_and_a_result_for_each_item(client: PublicApi) -> None:
    sessions = [new_session("batch") for _ in range(12)]
    items = [{"message": "hello", "session_id": session} for session in sessions]
    items.append({"message": "hello", "session_id": new_session(), "workflow_id": "nobody-published-this"})
    accepted = client.call("POST", "/api/v1/query/batch", json={"items": items, "parallel": 4})
    check(accepted, BATCH)
    path = f"/api/v1/batch/{accepted['batch_id']}"
    done = eventually(
        lambda: (view := client.call("GET", path))["status"] == "finished" and view, "the batch is over", 30.0
    )
    check(done, BATCH)
    assert (done["progress"]["success"], done["progress"]["failed"], done["total"]) == (12, 1, 13)
    page = client.call("GET", f"{path}/items", params={"limit": 100})
    assert [item["item"] for item in page["items"]] == list(range(13))
    assert [item["result"]["session_id"] for item in page["items"][:12]] == sessions


def test_what_is_asked_in_one_session_is_answered_in_its_order(
    client: PublicApi, probe: dict[str, Any]
) -> None:
    session = new_session()
    items = [{"message": f"say {number}", "session_id": session, **probe} for number in range(15)]
    accepted = client.call("POST", "/api/v1/query/batch", json={"items": items, "parallel": 8})
    path = f"/api/v1/batch/{accepted['batch_id']}"
    eventually(lambda: client.call("GET", path)["status"] == "finished", "the batch is over", 30.0)
    assert [text for role, text in client.history(session) if role == "user"] == [
        item["message"] for item in items
    ]


def test_a_batch_is_cancelled(client: PublicApi, system: RunningSystem, probe: dict[str, Any]) -> None:
    gate = new_session("gate")
    items = [{"message": f"wait at {gate}", "session_id": new_session(), **probe} for _ in range(5)]
    accepted = client.call("POST", "/api/v1/query/batch", json={"items": items, "parallel": 1})
    eventually(lambda: system.backend.received(f"/gate/{gate}"), "an item waits at the gate", 20.0)
    path = f"/api/v1/batch/{accepted['batch_id']}"
    client.call("POST", f"{path}/cancel")
    done = eventually(
        lambda: (view := client.call("GET", path))["status"] == "finished" and view, "the batch is over", 20.0
    )
    assert done["progress"]["cancelled"] == 5
    assert len(system.backend.received(f"/gate/{gate}")) == 1
    system.backend.open_gate(gate)


def test_schedules_are_made_changed_and_removed(client: PublicApi) -> None:
    body = {"name": "morning", "cron": "0 8 * * 1-5", "timezone": "Europe/Berlin", "message": "hello"}
    made = client.call("POST", "/api/v1/schedules", json=body)
    check(made, SCHEDULE)
    path = f"/api/v1/schedules/{made['schedule_id']}"
    assert client.call("GET", path) == made
    paused = client.call("PUT", path, json={**body, "status": "paused"})
    assert (paused["status"], paused["next_run_at"]) == ("paused", None)
    assert made["schedule_id"] in {
        one["schedule_id"] for one in client.call("GET", "/api/v1/schedules")["items"]
    }
    assert client.call("DELETE", path) == {"status": "deleted"}
    assert client.problem("GET", path).code == "schedule_not_found"
    refused = client.problem("POST", "/api/v1/schedules", json={**body, "cron": "every now and then"})
    assert (refused.code, refused.body["errors"][0]["pointer"]) == ("bad_cron", "/cron")


@pytest.mark.usefixtures("with_keys")
def test_webhooks_are_for_operators(
    client: PublicApi, admin_client: PublicApi, other: PublicApi, system: RunningSystem, probe: dict[str, Any]
) -> None:
    assert client.problem("GET", "/api/v1/webhooks").status == 403
    path = f"/hook/{new_session()}"
    post(client, "say ho", webhook={"url": f"{system.backend.url}{path}"}, **probe)

    def delivered() -> dict[str, Any] | None:
        found = admin_client.call("GET", "/api/v1/webhooks", params={"status": "delivered", "limit": 100})
        return next((one for one in found["items"] if one["url"].endswith(path)), None)

    webhook = eventually(delivered, "the webhook is listed", 20.0)
    replay = f"/api/v1/webhooks/{webhook['webhook_id']}/replay"
    assert admin_client.problem("POST", replay).code == "webhook_not_dead"
    assert other.problem("POST", replay).code == "webhook_not_found"
    assert all(
        one["status"] == "dead" for one in admin_client.call("GET", "/api/v1/webhooks?status=dead")["items"]
    )


def test_problems_of_the_background_are_problem_details(client: PublicApi) -> None:
    with pytest.raises(Problem):
        client.call("GET", "/api/v1/batch/batch_none")
