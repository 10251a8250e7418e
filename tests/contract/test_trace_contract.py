"""One query is one trace, across every hop, in both shapes."""

from support.public_api import PublicApi, new_session
from support.spans import spans_of
from support.systems import RunningSystem
from support.waiting import eventually

from signalbox_fake_provider import FakeProvider


def services_in(system: RunningSystem, trace_id: str, wanted: set[str]) -> set[str]:
    """The services with spans in a trace, once all that are wanted have some."""

    def complete() -> set[str]:
        found = {span.service for span in spans_of(system.traces, trace_id)}
        return found if found >= wanted else set()

    return eventually(complete, f"spans of {sorted(wanted)} in trace {trace_id}")


def test_rule_flow_tool_is_one_trace(client: PublicApi, system: RunningSystem) -> None:
    trace_id = client.query("where is my order 1042?")["trace_id"]
    wanted = {"workflow", "flows", "tools"}
    assert services_in(system, trace_id, wanted) == wanted

    def roots() -> list[str]:
        spans = {span.id: span for span in spans_of(system.traces, trace_id)}
        return [span.name for span in spans.values() if span.parent not in spans]

    # Each process writes its spans in its own time; in the end every span but the first has its parent.
    eventually(lambda: roots() == ["POST /api/v1/query"], f"one root of trace {trace_id}")


def test_skill_gateway_tool_is_one_trace(
    client: PublicApi, system: RunningSystem, provider: FakeProvider
) -> None:
    token = new_session("tok")
    provider.script(
        [
            {
                "match": {"last_user_contains": token, "has_tool_result": False},
                "reply": {"tool_calls": [{"name": "lookup", "arguments": {"word": token}}]},
            },
            {"match": {"last_user_contains": token}, "reply": "Found."},
        ]
    )
    frames = client.stream(f"agent {token}", workflow_id="probe")
    wanted = {"workflow", "skills", "llm_gateway", "tools"}
    assert services_in(system, frames[-1].data["trace_id"], wanted) == wanted


def test_a_trace_of_the_caller_goes_on(client: PublicApi, system: RunningSystem) -> None:
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    body = {"message": "hello", "session_id": new_session()}
    headers = {"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}
    reply = client.call("POST", "/api/v1/query", json=body, headers=headers)
    assert reply["trace_id"] == trace_id
    assert services_in(system, trace_id, {"workflow"})


def test_two_queries_are_two_traces(client: PublicApi) -> None:
    assert client.query("hello")["trace_id"] != client.query("hello")["trace_id"]
