"""Caps and exhaustion: what answers when no model may, or when none can."""

import pytest
from support.workflow_cache import BrokenCache
from support.workflow_stage import ALICE, CONFIG, Stage, skill_says, understood

from signalbox.common.cache import MemoryCache
from signalbox.common.errors import RateLimited
from signalbox.contracts.events import UsageData, UsageEvent
from signalbox.contracts.identity import Principal, Scope
from signalbox.contracts.work import EventFrame
from signalbox.workflow.caps import MessageTooLong
from signalbox.workflow.repository import SqlSessionStore

ACTING = Principal(tenant="acme", subject="key:app", scopes=frozenset({Scope.QUERY, Scope.ACT_FOR_USERS}))


class BudgetExceeded(RateLimited):
    code = "budget_exceeded"


def config(limits=None, costs=None, degradation=None):
    policies = {"limits": limits or {}, "degradation": degradation or {}}
    return {**CONFIG, "greeting": None, "policies": policies, "llm": {"limits": costs or {}}}


@pytest.fixture
def capped(database):
    def make(cache=None, **options):
        stage = Stage(database, cache)
        stage.releases.publish(config(**options))
        stage.gateway.answers = [understood("advice")]
        return stage

    return make


async def ask(stage, message, session="s1", principal=ALICE, **more):
    reply = await stage.ask(message, session, principal=principal, **more)
    return reply.status, reply.reason


def paid(cost):
    return [EventFrame(event=UsageEvent(data=UsageData(model="m", cost=cost))), *skill_says("Buy low.")]


async def test_over_a_cap_on_messages_rules_still_answer_and_models_are_not_asked(capped):
    stage = capped(limits={"messages_per_minute_per_session": 2}, degradation={"reply": "Later, please."})
    assert await ask(stage, "advise me") == ("success", None)
    assert await ask(stage, "advise me") == ("success", None)
    reply = await stage.ask("advise me more", "s1")
    assert (reply.status, reply.reason) == ("degraded", "session_messages_capped")
    assert reply.message == "Later, please."
    assert await ask(stage, "are you open?") == ("success", None)
    assert await ask(stage, "advise me", "s2") == ("success", None)


async def test_caps_count_by_user_and_by_workflow(capped):
    stage = capped(limits={"messages_per_minute_per_user": 1, "messages_per_minute": 3})
    for session in ("s1", "s2"):
        given = await ask(stage, "advise me", session, ACTING, user_id="u1")
        assert given == (("success", None) if session == "s1" else ("degraded", "user_messages_capped"))
    assert await ask(stage, "advise me", "s3", ACTING, user_id="u2") == ("success", None)
    assert await ask(stage, "advise me", "s4") == ("success", None)
    assert await ask(stage, "advise me", "s5") == ("degraded", "workflow_messages_capped")


async def test_a_session_has_its_cost_and_no_more(capped):
    stage = capped(costs={"cost_per_session": "0.01"})
    stage.skills.answers = [paid("0.006")]
    assert [await ask(stage, "advise me") for _ in range(3)] == [
        ("success", None),
        ("success", None),
        ("degraded", "session_cost_capped"),
    ]
    assert await ask(stage, "advise me", "s2") == ("success", None)


async def test_a_users_day_has_its_cost_over_all_sessions(capped):
    stage = capped(costs={"cost_per_user_per_day": "0.01"})
    stage.skills.answers = [paid("0.02")]
    assert await ask(stage, "advise me", "s1", ACTING, user_id="u1") == ("success", None)
    assert await ask(stage, "advise me", "s2", ACTING, user_id="u1") == ("degraded", "user_cost_capped")
    assert await ask(stage, "advise me", "s3", ACTING, user_id="u2") == ("success", None)
    assert await ask(stage, "advise me", "s4", ACTING) == ("success", None)


async def test_without_caps_nothing_is_counted(database):
    cache = BrokenCache(MemoryCache())
    stage = Stage(database, cache)
    stage.releases.publish(config())
    await ask(stage, "are you open?")
    assert "count" not in cache.calls


async def test_where_messages_cannot_be_counted_they_are_answered(capped):
    cache = BrokenCache(MemoryCache())
    cache.down = True
    stage = capped(cache, limits={"messages_per_minute_per_session": 1})
    assert [await ask(stage, "are you open?") for _ in range(2)] == [("success", None)] * 2


async def test_a_message_over_the_length_is_refused_and_leaves_nothing(capped):
    stage = capped(limits={"max_message_chars": 10})
    with pytest.raises(MessageTooLong, match="10 characters"):
        await stage.ask("are you open?", "s1")
    assert await SqlSessionStore(stage.database).load("acme", "s1") is None


async def test_an_exhausted_budget_is_answered_by_the_policy(capped):
    stage = capped(degradation={"reply": "Later, please."})
    stage.gateway.answers = [BudgetExceeded("empty")]
    reply = await stage.ask("advise me", "s1")
    assert (reply.status, reply.reason, reply.message) == ("degraded", "budget_exceeded", "Later, please.")
    assert await ask(stage, "are you open?") == ("success", None)


async def test_the_policys_action_is_its_last_word(capped):
    stage = capped(degradation={"action": "handoff"})
    stage.gateway.answers = [BudgetExceeded("empty")]
    reply = await stage.ask("advise me", "s1")
    assert (reply.status, reply.reason) == ("handoff", "budget_exceeded")
    assert reply.message == "A colleague takes over."


async def test_a_cheaper_model_decides_where_the_usual_one_is_exhausted(capped):
    stage = capped(degradation={"model": "cheap"})
    stage.gateway.answers = [BudgetExceeded("empty"), understood("advice")]
    reply = await stage.ask("advise me", "s1")
    assert [request.model for request in stage.gateway.asked] == ["fake", "cheap"]
    assert (reply.status, reply.reason) == ("degraded", "budget_exceeded")
    assert (reply.decision.stage, reply.decision.intent) == ("llm", "advice")
    assert reply.message == "Well, well."


async def test_a_skill_that_went_on_with_less_says_so(capped):
    stage = capped()
    stage.skills.answers = [skill_says("Buy low.", degraded="budget_exceeded")]
    reply = await stage.ask("advise me", "s1")
    assert (reply.status, reply.reason, reply.message) == ("degraded", "budget_exceeded", "Buy low.")


async def test_a_question_that_a_model_would_have_spared_the_user_says_why_it_is_asked(capped):
    stage = capped(degradation={"model": "cheap"})
    stage.gateway.answers = [BudgetExceeded("empty"), understood("advice", 0.35, {"hours": 0.34})]
    reply = await stage.ask("hm, what now", "s1")
    assert (reply.status, reply.reason) == ("clarify", "budget_exceeded")
