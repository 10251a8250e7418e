"""Tools: every way in which a backend can fail is a committed turn that says so."""

from typing import Any

import pytest
from support.public_api import PublicApi, new_session
from support.systems import RunningSystem


def test_a_tool_answers_through_its_template(client: PublicApi, system: RunningSystem) -> None:
    reply = client.query("is JKT-1001 in stock?")
    assert reply["decision"]["intent"] == "stock_check"
    assert "JKT-1001" in reply["message"]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("read status 500", "upstream_error"),
        ("read status 400", "upstream_error"),
        ("read status 302", "upstream_error"),
        ("read status 404", "not_found"),
        ("read malformed", "bad_response"),
        ("read big", "too_large"),
        ("read slow", "timeout"),
        ("read nowhere", "unreachable"),
        ("read forbidden", "refused"),
        ("read with bad arguments", "invalid_arguments"),
    ],
)
def test_a_failure_has_a_code_and_a_sentence(
    client: PublicApi, probe: dict[str, Any], message: str, reason: str
) -> None:
    session = new_session()
    reply = client.query(message, session, **probe)
    assert (reply["status"], reply["reason"]) == ("error", reason)
    assert len(reply["message"]) > len("Welcome.\n\n")
    assert "127.0.0.1" not in reply["message"]
    assert client.history(session) == [("user", message), ("assistant", reply["message"])]


def test_not_found_may_mean_nothing(client: PublicApi, probe: dict[str, Any]) -> None:
    reply = client.query("read empty 404", **probe)
    assert (reply["status"], reply["message"]) == ("success", "Welcome.\n\nNothing there")
    assert "I cannot find order 999999" in client.query("order status of 999999")["message"]


def test_events_tell_the_call_and_its_failure(client: PublicApi, probe: dict[str, Any]) -> None:
    frames = client.stream("read status 503", **probe)
    call = next(frame.data for frame in frames if frame.type == "tool_call")
    result = next(frame.data for frame in frames if frame.type == "tool_result")
    assert call["tool"] == result["tool"] == "read_status"
    assert call["call_id"] == result["call_id"]
    assert (result["ok"], result["error"].split(":")[0]) == (False, "upstream_error")


def test_a_backend_that_is_down_is_said_and_used_again_when_it_is_back(
    client: PublicApi, system: RunningSystem
) -> None:
    shop = system.local.shop
    assert shop is not None
    session = new_session()
    shop.process.kill()
    try:
        flow = client.query("where is my order 1042?", session)
        assert flow["status"] == "error"
        assert "I cannot reach our order system at the moment." in flow["message"]
        tool = client.query("is JKT-1001 in stock?", session)
        assert (tool["status"], tool["reason"]) == ("error", "unreachable")
        function = client.query("how long does delivery to France take?", session)
        assert function["status"] == "error"
    finally:
        shop.process.start()
    assert "Order 1042 is on its way" in client.query("where is my order 1042?", session)["message"]
    assert len(client.history(session)) == 8
