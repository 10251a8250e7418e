"""Calls that more than one deployment may answer, with providers that are scripted."""

import asyncio

import orjson
import pytest
from support.scripted_models import BUSY, DONE, END, ROLE, World, chunk, text_of, whole

from signalbox.common.context import Deadline
from signalbox.contracts.identity import Principal, Scope
from signalbox.llm_gateway.call import Caller
from signalbox.llm_gateway.errors import (
    BudgetExceeded,
    LimitExceeded,
    ProviderBroke,
    ProviderRefused,
    ProviderTimeout,
    ProviderUnreachable,
)
from signalbox.llm_gateway.protocol import RequestBody
from signalbox.llm_gateway.records import Labels


async def test_what_fails_is_tried_again_and_each_attempt_has_its_row():
    world = World().script(a1=[BUSY, ProviderUnreachable("reset"), whole()])
    answer = orjson.loads((await world.ask()).body)
    assert answer["model"] == "a"
    assert [(one.deployment, one.status, one.cost_pico) for one in world.row.attempts] == [
        ("a1", 503, 0),
        ("a1", 503, 0),
        ("a1", 200, 18_000_000),
    ]
    assert (world.row.outcome, world.row.deployment, world.row.cost_pico) == ("ok", "a1", 18_000_000)


async def test_an_answer_of_a_fallback_is_called_by_its_name():
    world = World().script(a1=[BUSY] * 3, b1=[whole("from b")])
    answer = await world.ask()
    assert orjson.loads(answer.body)["model"] == "b"
    assert (world.row.model_asked, world.row.deployment, len(world.row.attempts)) == ("a", "b1", 4)
    assert answer.headers["signalbox-llm-cost"] == "0.000018 USD"


async def test_when_nobody_answers_the_failure_is_that_of_the_model_asked_for():
    world = World(rule={"max_attempts": 1}).script(a1=[BUSY], b1=[(400, b'{"error":{"message":"odd"}}')])
    with pytest.raises(ProviderRefused, match="busy"):
        await world.ask()
    assert (world.row.outcome, world.row.status, len(world.row.attempts)) == ("error", 503, 2)


async def test_an_answer_that_is_no_json_is_asked_for_again():
    world = World().script(a1=[(200, b"<html>"), whole()])
    await world.ask()
    assert [one.error_code for one in world.row.attempts] == ["provider_broke_off", None]
    assert world.row.attempts[0].estimated


async def test_embeddings_are_routed_too():
    vectors = (200, orjson.dumps({"data": [], "model": "real-b", "usage": {"prompt_tokens": 3}}))
    world = World().script(a1=[ProviderTimeout("silent")], b1=[vectors])
    body = RequestBody.parse(b'{"model": "a", "input": "x"}')
    principal = Principal(tenant="t", subject="s", scopes=frozenset({Scope.LLM}))
    answer = await world.calls.embed(body, Caller(principal, Labels()))
    assert orjson.loads(answer.body)["model"] == "b"
    assert world.providers.names == ["a1", "b1"]


async def test_a_model_that_is_prompted_for_tools_is_replaced_like_any_other():
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    called = '{"tool_calls": [{"name": "f", "arguments": {}}]}'
    world = World(b={"capabilities": {"tools": False}}, capabilities={"tools": False})
    world.script(a1=[BUSY] * 3, b1=[whole("hm"), whole(called)])
    message = orjson.loads((await world.ask(tools=[tool], tool_choice="required")).body)
    assert message["model"] == "b"
    assert message["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "f"
    assert [one.status for one in world.row.attempts] == [503, 503, 503, 200, 200]


async def test_what_one_model_was_prompted_for_is_not_said_of_another():
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    world = World(capabilities={"tools": False}, b={"capabilities": {"tools": True}})
    world.script(a1=[BUSY] * 3, b1=[whole()])
    assert "signalbox-llm-emulated" not in (await world.ask(tools=[tool])).headers
    assert world.row.emulated is None


async def test_a_stream_that_fails_before_its_first_content_begins_elsewhere_unseen():
    world = World(rule={"max_attempts": 1})
    world.script(
        a1=[[b": ping\n\n", ROLE, chunk(""), ProviderBroke("cut")]],
        b1=[[ROLE, chunk("hel"), chunk("lo"), *END]],
    )
    events, ended = await world.read()
    assert (text_of(events), ended, {event.get("model") for event in events[:-1]}) == ("hello", True, {"b"})
    assert [one.outcome for one in world.row.attempts] == ["error", "ok"]
    assert world.providers.stopped == ["a1", "b1"]


async def test_a_stream_that_is_done_before_it_began_is_none():
    world = World(rule={"max_attempts": 1}).script(a1=[[ROLE, DONE]], b1=[[chunk("x"), *END]])
    events, _ = await world.read()
    assert text_of(events) == "x"


async def test_an_error_event_before_the_first_content_is_a_failure_like_any_other():
    event = b'data: {"error": {"message": "overloaded"}}\n\n'
    world = World().script(a1=[[ROLE, event], [ROLE, chunk("x"), *END]])
    events, ended = await world.read()
    assert (text_of(events), ended, len(world.row.attempts)) == ("x", True, 2)


async def test_the_first_token_limit_covers_a_role_followed_by_silence():
    world = World(first_token_timeout_s=0.05).script(a1=[[ROLE, "hang"]], b1=[[chunk("x"), *END]])
    events, _ = await world.read()
    assert text_of(events) == "x"
    assert world.row.attempts[0].outcome == "timeout"


async def test_a_deployment_over_its_limit_is_passed_over_and_attempts_say_what_was_spent():
    world = World(("a1", "a2"), rule={"max_attempts": 1, "strategy": "weighted"})
    world.tickets.ticket.refuses = {"a1": LimitExceeded("full")}
    world.script(a2=[(200, b"no json")], b1=[whole()])
    await world.ask()
    assert "a1" not in world.providers.names
    spent = dict(world.tickets.ticket.spent)
    assert spent["b1"] == world.row.attempts[0].cost_pico > 0
    world = World()
    world.tickets.ticket.refuses = {"b1": BudgetExceeded("spent"), "a1": LimitExceeded("full")}
    with pytest.raises(LimitExceeded):
        await world.ask()
    assert world.providers.names == []


async def test_nothing_is_waited_for_beyond_the_deadline():
    world = World(rule={"retry_backoff_s": 30, "fallbacks": []}).script(a1=[BUSY])
    async with asyncio.timeout(5):
        with pytest.raises(ProviderRefused):
            await world.ask(deadline=Deadline.after(2))


async def test_a_client_that_leaves_while_a_retry_is_waited_for_has_one_row():
    world = World(rule={"retry_backoff_s": 30}).script(a1=[BUSY])
    task = asyncio.create_task(world.ask())
    await world.providers.once_asked.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (world.row.outcome, len(world.row.attempts)) == ("aborted", 1)


async def test_a_callers_short_deadline_is_not_held_against_a_deployment():
    world = World(rule={"breaker": {"consecutive": 1}}).script(a1=["late"], b1=[whole()])
    with pytest.raises(ProviderTimeout):
        await world.ask(deadline=Deadline.after(0.05))
    (health,) = [one for one in world.planner.health if one.name == "a1"]
    assert (health.state(), health.in_flight) == ("closed", 0)
