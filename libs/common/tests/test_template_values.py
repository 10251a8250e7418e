"""What templates see, what a model sees of a tool, and calls to a Tools service that is away."""

from signalbox.common.auth import LOCAL_PRINCIPAL
from signalbox.common.clients import ServiceCallFailed
from signalbox.common.errors import DeadlineExceeded
from signalbox.common.template_values import context_values, effective_variables
from signalbox.common.tool_calls import RemoteTools, visible_parameters
from signalbox.common.transport import HopTimeout, HopUnreachable
from signalbox.contracts.config import Tool
from signalbox.contracts.context import CallContext
from signalbox.contracts.problem import Problem
from signalbox.contracts.work import ToolCallRequest


def context(**more) -> CallContext:
    known = {
        "tenant": "acme", "subject": "k", "workflow_id": "w", "config_hash": "a" * 64, "session_id": "s",
        "turn_id": "t", "now_ms": 1_795_464_000_000,
    }  # fmt: skip
    return CallContext(**{**known, **more})


def test_overrides_keep_the_type_of_what_they_replace():
    declared = {"url": "http://a", "limit": 5, "rate": 0.5, "on": True, "other": 1}
    overrides = {"url": "12", "limit": "9", "rate": "2", "on": "false", "other": "many", "unknown": "x"}
    assert effective_variables(declared, overrides) == {
        "url": "12", "limit": 9, "rate": 2, "on": False, "other": "many",
    }  # fmt: skip
    assert effective_variables({"on": True, "n": 1}, {"on": "1", "n": "true"}) == {"on": "1", "n": "true"}


def test_today_is_the_users_day():
    assert context_values(context(timezone="Asia/Shanghai"))["today"] == "2026-11-24"
    assert context_values(context(timezone="America/New_York"))["today"] == "2026-11-23"
    assert context_values(context(timezone="Not/AZone"))["today"] == "2026-11-23"


def test_a_caller_sees_no_argument_that_comes_from_the_session():
    parameters = {
        "type": "object",
        "properties": {"q": {"type": "string"}, "user": {"type": "string"}},
        "required": ["q", "user"],
    }
    tool = Tool(id="t", parameters=parameters, context={"user": "{{ context.user_id }}"}, python="f")
    assert visible_parameters(tool) == {
        "type": "object",
        "properties": {"q": {"type": "string"}},
        "required": ["q"],
    }
    assert tool.parameters["required"] == ["q", "user"]


class FailingClient:
    def __init__(self, error: Exception) -> None:
        self.error = error

    async def call(self, request, principal):
        raise self.error


async def test_a_tools_service_that_is_away_is_a_failed_call():
    request = ToolCallRequest(context=context(), tool="t", idempotency_key="k")
    refused = ServiceCallFailed(
        "tools", Problem(title="x", status=404, code="unknown_snapshot", detail="no"), {}
    )
    broken = ServiceCallFailed(
        "tools", Problem(title="x", status=500, code="internal_error", detail="no"), {}
    )
    for error, write, code in (
        (HopUnreachable("tools", "away"), False, "unreachable"),
        (HopUnreachable("tools", "away"), True, "unknown_outcome"),
        (HopTimeout("tools", "slow"), False, "timeout"),
        (DeadlineExceeded("no time"), True, "timeout"),
        (refused, True, "refused"),
        (broken, True, "unknown_outcome"),
    ):
        reply = await RemoteTools(FailingClient(error), LOCAL_PRINCIPAL).call(request, write=write)
        assert (reply.ok, reply.error.code) == (False, code)
