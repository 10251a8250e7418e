"""What a newcomer asks first, without any model: every part of the system answers, each question in one trace."""

from support.public_api import PublicApi, text_of
from support.spans import spans_of
from support.systems import RunningSystem
from support.waiting import eventually


def assert_one_trace(example: RunningSystem, trace_id: str, wanted: set[str]) -> None:
    """The services that answered have spans in this trace, and nobody else has."""

    def complete() -> bool:
        spans = {span.id: span for span in spans_of(example.traces, trace_id)}
        roots = [span for span in spans.values() if span.parent not in spans]
        return {span.service for span in spans.values()} == wanted and len(roots) == 1

    eventually(complete, f"one trace over {sorted(wanted)}, which is {trace_id}")


def test_an_order_status_goes_rule_flow_backend(customer: PublicApi, example: RunningSystem) -> None:
    reply = customer.query("where is my order 1042?")
    assert "Order 1042 is on its way" in reply["message"]
    assert (reply["status"], reply["decision"]["stage"]) == ("success", "rule")
    assert_one_trace(example, reply["trace_id"], {"workflow", "flows", "tools"})


def test_the_same_in_chinese(customer: PublicApi, example: RunningSystem) -> None:
    reply = customer.query("我的订单1042在哪里")
    assert "您好，我是商店助手。" in reply["message"]
    assert "订单1042已发货" in reply["message"]
    assert_one_trace(example, reply["trace_id"], {"workflow", "flows", "tools"})


def test_a_return_is_made_once_at_the_backend(customer: PublicApi, example: RunningSystem) -> None:
    order = example.orders.fresh("returnable")
    reply = customer.query(f"I want to return order {order}")
    assert f"for order {order} is set up" in reply["message"]
    assert example.orders.returns_of(order) == 1
    assert_one_trace(example, reply["trace_id"], {"workflow", "flows", "tools"})


def test_an_open_question_goes_skill_gateway_tools_backend(
    customer: PublicApi, example: RunningSystem
) -> None:
    frames = customer.stream("can you recommend a waterproof jacket under 100 euros?")
    reply = frames[-1].data
    assert reply["status"] == "success"
    assert "demo model" in reply["message"]
    called = [frame.data["tool"] for frame in frames if frame.type == "tool_call"]
    assert "search_products" in called
    products = next(frame.data["output"] for frame in frames if frame.type == "tool_result")
    assert products
    assert text_of(frames) == reply["message"]
    assert_one_trace(example, reply["trace_id"], {"workflow", "skills", "llm_gateway", "tools"})


def test_a_handoff_reaches_a_person(customer: PublicApi, example: RunningSystem) -> None:
    reply = customer.query("I want to talk to a human")
    assert reply["status"] == "handoff"
    assert "connecting you with a person" in reply["message"]
    assert customer.session(reply["session_id"])["workflow_state"]["status"] == "transferred"
    assert_one_trace(example, reply["trace_id"], {"workflow"})


def test_without_a_rule_the_demo_model_names_the_intent(customer: PublicApi) -> None:
    reply = customer.query("what became of the thing that I ordered, number 1042?")
    assert reply["decision"]["stage"] in {"llm", "none"}
    assert reply["status"] in {"success", "waiting"}


def test_the_command_asks(customer: PublicApi, example: RunningSystem) -> None:
    printed = example.local.run_cli("ask", "--url", example.url, "where is my order 1042?")
    assert "Order 1042 is on its way" in printed
    assert "stage rule" in printed
    assert "Order 1043 was delivered" in example.local.run_cli(
        "ask", "--stream", "--url", example.url, "where is my order 1043?"
    )
