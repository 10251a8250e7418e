"""What a provider receives of skills: prompts that begin alike, so that it need not read them again."""

import json
from typing import Any

from support.public_api import PublicApi, new_session

from signalbox_fake_provider import FakeProvider

USAGE = {"prompt_tokens": 1000, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 600}}


def test_the_prefix_is_the_same_over_twenty_turns_of_two_sessions(
    client: PublicApi, provider: FakeProvider, probe: dict[str, Any]
) -> None:
    provider.script([{"reply": "Noted.", "usage": USAGE}])
    sessions = [new_session(), new_session()]
    for number in range(20):
        for session in sessions:
            client.query(f"agent message {number}", session, **probe)
    bodies = [record.body for record in provider.requests() if record.body and "tools" in record.body]
    assert len(bodies) == 40
    assert len({json.dumps([body["messages"][0], body["tools"]]) for body in bodies}) == 1
    for body in bodies:
        assert "cache_control" not in json.dumps(body), "this provider wants no marks"


def test_what_was_cached_is_told(client: PublicApi, provider: FakeProvider, probe: dict[str, Any]) -> None:
    provider.script([{"reply": "Noted.", "usage": USAGE}])
    frames = client.stream("agent hello", **probe)
    [usage] = [frame.data for frame in frames if frame.type == "usage"]
    assert (usage["input_tokens"], usage["cached_tokens"]) == (1000, 600)
