"""Config changes amid two hundred conversations: none loses what was said, and pinned ones end as they began."""

import copy
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.public_api import PublicApi, new_session
from support.replicas import Replicas
from support.systems import probe_document

CONVERSATIONS = 200


def release(replicas: Replicas, policy: str, version: int) -> dict[str, Any]:
    """The flow of the probe workflow, whose words tell the version, with an intent of its own."""
    document = probe_document(replicas.backend.url)
    changed: dict[str, Any] = {"workflow_id": f"release-{policy}", "policies": {"snapshot": policy}}
    changed["flows"] = copy.deepcopy(document["flows"])
    flow = next(one for one in changed["flows"] if one["id"] == "pick_colour")
    flow["steps"][-1]["text"] = f"It is {{{{ slots.colour }}}} now, version {version}."
    return changed


@pytest.mark.parametrize("policy", ["pin", "follow"])
def test_no_conversation_loses_its_state(replicas: Replicas, apis: list[PublicApi], policy: str) -> None:
    workflow = f"release-{policy}"
    replicas.publish(**release(replicas, policy, 1))
    sessions = [new_session() for _ in range(CONVERSATIONS)]
    half = CONVERSATIONS // 2

    def say(number: int, text: str) -> str:
        # Each message reaches another replica than the one before.
        api = apis[(number + len(text)) % 3]
        message: str = api.query(text, sessions[number], workflow_id=workflow)["message"]
        return message

    def say_all(pool: ThreadPoolExecutor, numbers: range, text: str) -> list[str]:
        return list(pool.map(lambda number: say(number, text), numbers))

    with ThreadPoolExecutor(16) as pool:
        assert all("Which colour?" in said for said in say_all(pool, range(CONVERSATIONS), "pick a colour"))
        asked = say_all(pool, range(half), "red")
        # While the others give their answer, the release changes.
        rest = [pool.submit(say, number, "blue") for number in range(half, CONVERSATIONS)]
        replicas.publish(**release(replicas, policy, 2))
        asked += [future.result(30) for future in rest]
        assert asked == ["Paint it red?"] * half + ["Paint it blue?"] * half
        done = say_all(pool, range(CONVERSATIONS), "yes")
        version = 1 if policy == "pin" else 2
        colours = ["red"] * half + ["blue"] * half
        assert done == [f"It is {colour} now, version {version}." for colour in colours]
        # Whoever begins now begins with what is released now.
        again = say_all(pool, range(20), "pick a colour")
        assert all("Which colour?" in said for said in again)
        say_all(pool, range(20), "red")
        assert say_all(pool, range(20), "yes") == ["It is red now, version 2."] * 20
    for number in (0, half, CONVERSATIONS - 1):
        assert len(apis[0].history(sessions[number])) == (12 if number < 20 else 6)


def test_a_flow_that_is_no_longer_there_is_finished_all_the_same(
    replicas: Replicas, apis: list[PublicApi]
) -> None:
    replicas.publish(**release(replicas, "follow", 1))
    session, workflow = new_session(), "release-follow"
    apis[0].query("pick a colour", session, workflow_id=workflow)
    document = probe_document(replicas.backend.url)
    changed = release(replicas, "follow", 3)
    changed["flows"] = [flow for flow in changed["flows"] if flow["id"] != "pick_colour"]
    intents: Any = document["intents"]
    changed["intents"] = [one for one in intents if one["id"] != "pick"]
    replicas.publish(**changed)
    assert apis[1].query("red", session, workflow_id=workflow)["message"] == "Paint it red?"
    assert apis[2].query("yes", session, workflow_id=workflow)["message"] == "It is red now, version 1."
    assert apis[0].query("pick a colour", session, workflow_id=workflow)["decision"]["intent"] is None
