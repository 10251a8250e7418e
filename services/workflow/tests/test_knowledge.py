"""Knowledge sources: asked at their moment, given on as quotes, cited, and never in the way."""

from typing import Any

import pytest
from support.workflow_stage import ALICE, CONFIG, flow_waits, skill_says

from signalbox.common.clients import ServiceCallFailed
from signalbox.contracts.problem import Problem
from signalbox.contracts.query import CitationPart
from signalbox.contracts.work import FlowReading, Passage, ToolCallReply, ToolError

FOUND = [
    {"title": "Wool", "text": "Wool keeps warm.", "url": "https://x.example/wool", "score": 3},
    "Down is light.",
    {"no": "text"},
    {"text": "  "},
    {"title": "Third", "text": "Too many."},
]


def knowing(when: str, fallback: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    source = {"id": "faq", "tool": "weather", "when": when, "top_k": 2, **more}
    advice = {"id": "tips", "when": {"keywords": ["tips"]}, "then": {"skill": "advisor"}}
    return {
        **CONFIG,
        "greeting": None,
        "intents": [*CONFIG["intents"], advice],
        "knowledge": [source],
        "policies": {"fallback": fallback or {}},
    }


def says(output: Any) -> ToolCallReply:
    return ToolCallReply(ok=True, output=output, took_ms=1.0)


async def test_it_is_asked_before_a_skill_answers_and_cited(stage):
    stage.releases.publish(knowing("before_answer", arguments={"language": "{{ context.language }}"}))
    stage.tools.answers = [says(FOUND)]
    stage.skills.answers = [skill_says("Take wool [1], ", "not [7].")]
    reply = await stage.ask("any tips?")
    [asked] = stage.tools.asked
    assert asked.arguments == {"query": "any tips?", "language": "en"}
    assert stage.skills.asked[0].passages == [
        Passage(text="Wool keeps warm.", title="Wool", url="https://x.example/wool"),
        Passage(text="Down is light."),
    ]
    assert reply.parts == [CitationPart(title="Wool", url="https://x.example/wool", quote="Wool keeps warm.")]
    [turn] = await stage.turns()
    assert '"tool_call"' in turn["events"]


@pytest.mark.parametrize("when", ["on_demand", "on_fallback"])
async def test_it_is_not_asked_at_another_moment(stage, when):
    stage.releases.publish(knowing(when))
    await stage.ask("any tips?")
    assert (stage.tools.asked, stage.skills.asked[0].passages) == ([], [])


@pytest.mark.parametrize(
    "answer",
    [
        ToolCallReply(ok=False, error=ToolError(code="timeout", detail="late"), took_ms=1.0),
        ServiceCallFailed("tools", Problem(title="t", status=503, code="down", detail="d"), {}),
        says({"not": "a list"}),
    ],
)
async def test_a_source_that_fails_has_nothing(stage, answer):
    stage.releases.publish(knowing("before_answer"))
    stage.tools.answers = [answer]
    reply = await stage.ask("any tips?")
    assert (reply.message, reply.status, reply.parts) == ("Well, well.", "success", [])


async def test_where_nothing_fits_its_best_passage_is_the_answer(stage):
    stage.gateway.roles = {}
    stage.releases.publish(knowing("on_fallback"))
    stage.tools.answers = [says(FOUND), says([])]
    reply = await stage.ask("what keeps warm?")
    assert reply.message == "Wool keeps warm."
    assert [part.title for part in reply.parts] == ["Wool"]
    nothing = await stage.ask("what is heavy?")
    assert nothing.message.startswith("Sorry, I can only answer simple questions")


async def test_the_fallback_skill_gets_it(stage):
    stage.releases.publish(knowing("on_fallback", {"skill": "advisor"}))
    stage.tools.answers = [says(FOUND)]
    await stage.ask("what keeps warm?")
    assert [passage.title for passage in stage.skills.asked[0].passages] == ["Wool", ""]


async def test_a_question_in_the_middle_of_a_flow_is_answered_from_it(stage):
    stage.gateway.roles = {}
    stage.releases.publish(knowing("on_fallback"))
    stage.flows.answers = [flow_waits()]
    await stage.ask("where is order 1?")
    stage.flows.reading = FlowReading(fit="none", asks=True, question="Which one?")
    stage.tools.answers = [says(FOUND)]
    reply = await stage.ask("what keeps warm?")
    assert reply.message == "Wool keeps warm.\n\nBack to where we were: Which one?"
    assert (await stage.store.load("acme", "s1")).state.flow.asked == "which"


async def test_a_source_that_an_intent_asks_itself_is_cited_where_it_is_quoted(stage):
    document = knowing("on_demand")
    document["intents"][-1] = {
        "id": "tips", "when": {"keywords": ["tips"]},
        "then": {"tool": "weather", "reply": "{{ result[1] if result[1] is string else result[0].text }}"},
    }  # fmt: skip
    stage.releases.publish(document)
    stage.tools.answers = [says(FOUND), says(FOUND[:1] + FOUND[4:])]
    assert [part.quote for part in (await stage.ask("any tips?")).parts] == ["Down is light."]
    assert [part.title for part in (await stage.ask("any tips?")).parts] == ["Wool"]
    view = await stage.views.session(ALICE, "s1", None, 0, 50)
    assert [part.title for part in view.messages[-1].parts] == ["Wool"]


async def test_without_words_of_its_own_an_intent_answers_with_the_best_passage(stage):
    document = knowing("on_demand")
    document["intents"][-1]["then"] = {"tool": "weather"}
    stage.releases.publish(document)
    stage.tools.answers = [says(FOUND)]
    reply = await stage.ask("any tips?")
    assert (reply.message, [part.title for part in reply.parts]) == ("Wool keeps warm.", ["Wool"])
