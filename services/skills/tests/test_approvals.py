"""Runs that wait for a person: nothing is done before the word, once after a yes, never after a no."""

import asyncio
import json

import pytest

from signalbox.common.http_calls import CallFailed
from signalbox.common.storage import open_database
from signalbox.common.storage.migrations import migrate
from signalbox.contracts.pauses import Verdict
from signalbox.contracts.work import ToolError
from signalbox.skills.errors import UnknownRun
from signalbox.skills.repository import SqlRuns
from signalbox.skills.transcript import Transcript

BOOK = {
    "id": "book", "description": "Book a room. Costs money.", "effect": "write", "confirm": "always",
    "parameters": {"type": "object", "properties": {
        "room": {"type": "string"}, "pin": {"type": "string", "writeOnly": True},
    }},
    "summary": {"en": "book room {{ arguments.room }}", "zh": "预订房间 {{ arguments.room }}"},
    "request": {"url": "https://x.example/", "method": "POST"},
}  # fmt: skip
LOOK = {"id": "look", "request": {"url": "https://x.example/"}}
PAY = {"id": "pay", "description": "Pay.", "effect": "write", "request": {"url": "https://x.example/"}}
LOST = ToolError(code="unknown_outcome", detail="lost")


class Killed(BaseException):
    """Ends a run as a kill would: nothing of it is stored any more."""


@pytest.fixture
async def sql_runs(tmp_path):
    url = f"sqlite:///{tmp_path / 'skills.db'}"
    await asyncio.to_thread(migrate, "skills", "signalbox.skills.migrations", url)
    database = open_database(url)
    yield SqlRuns(database)
    await database.close()


@pytest.fixture
def booking(make_bench, sql_runs):
    """An agent that looks, books and says so, over a real database."""

    def make(agent=None, tools=(LOOK, BOOK, PAY), **config):
        bench = make_bench(agent={"tools": ["look", "book", "pay"], **(agent or {})}, tools=tools, **config)
        bench.runs = sql_runs
        bench.tools.tools = {"look": lambda _: "free", "book": lambda _: "booked", "pay": lambda _: "paid"}
        return bench

    return make


def on(result, decision, **more):
    """The same word on all calls of a pause."""
    return {call.call_id: Verdict(decision=decision, **more) for call in result.pause.calls}


def called(bench):
    return [call.tool for call in bench.tools.calls]


async def test_a_run_asks_the_user_before_a_write_and_makes_it_once_after_a_yes(booking):
    bench = booking()
    calls = (("look", "{}"), ("book", '{"room": "7", "pin": "1234"}'))
    bench.model.script = [bench.asks(*calls, text="I can do that."), bench.says("Booked.")]
    waits = await bench.run()
    assert (waits.status, waits.reason, waits.pause.by) == ("waiting", "approval", "user")
    assert waits.message == "I can do that.\n\nShall I go ahead?\n- book room 7"
    assert [choice.value for choice in waits.parts[0].choices] == ["yes", "no"]
    assert waits.pause.calls[0].arguments == {"room": "7"}
    assert called(bench) == []
    assert (await bench.run()).status == "waiting"

    result = await bench.run(verdicts=on(waits, "approve"))
    assert (result.status, result.message) == ("completed", "Booked.")
    assert called(bench) == ["look", "book"]
    assert bench.tools.calls[1].arguments == {"room": "7", "pin": "1234"}
    assert (await bench.run(verdicts=on(waits, "approve"))).message == "Booked."
    assert called(bench) == ["look", "book"]
    assert len(bench.model.requests) == 2


async def test_a_refusal_is_told_to_the_model_which_goes_on(booking):
    bench = booking()
    bench.model.script = [bench.asks(("book", '{"room": "7"}')), bench.says("Then not.")]
    waits = await bench.run(language="zh")
    assert waits.message == "确认执行吗？\n- 预订房间 7"
    result = await bench.run(language="zh", verdicts=on(waits, "refuse", note="too dear"))
    assert (result.status, result.message, called(bench)) == ("completed", "Then not.", [])
    error = json.loads(bench.model.requests[1].messages[-1].content)["error"]
    assert error["code"] == "denied"
    assert "too dear" in error["detail"]


async def test_a_run_is_abandoned_without_asking_its_model(booking):
    bench = booking()
    bench.model.script = [bench.asks(("book", '{"room": "7"}')), bench.says("never said")]
    waits = await bench.run()
    ended = await bench.run(verdicts=on(waits, "abandon"))
    assert (ended.status, ended.reason) == ("failed", "abandoned")
    later = await bench.run(verdicts=on(waits, "approve"))
    assert (later.reason, called(bench), len(bench.model.requests)) == ("abandoned", [], 1)


async def test_nobody_is_asked_about_a_call_that_could_not_be_made(booking):
    bench = booking()
    bench.model.script = [bench.asks(("book", '{"room": 7}')), bench.says("Sorry.")]
    result = await bench.run()
    assert (result.status, called(bench)) == ("completed", [])
    assert json.loads(bench.model.requests[1].messages[-1].content)["error"]["code"] == "invalid_arguments"


async def test_a_verdict_never_begins_a_run(booking):
    with pytest.raises(UnknownRun):
        await booking().run(verdicts={"turn_1/s/1.0": Verdict(decision="approve")})


async def test_the_user_is_asked_first_and_then_the_operator(booking):
    bench = booking(agent={"approval": {"tools": ["pay"], "by": "operator"}})
    bench.model.script = [bench.asks(("book", '{"room": "7"}'), ("pay", "{}")), bench.says("All done.")]
    first = await bench.run()
    assert [call.tool for call in first.pause.calls] == ["book"]
    second = await bench.run(verdicts=on(first, "approve"))
    assert (second.pause.by, [call.tool for call in second.pause.calls]) == ("operator", ["pay"])
    assert (second.parts, called(bench)) == ([], [])
    assert "colleague" in second.message
    result = await bench.run(verdicts=on(second, "approve"))
    assert (result.message, called(bench)) == ("All done.", ["book", "pay"])


async def test_policy_asks_for_every_write_that_does_not_say_never(booking):
    never = {**PAY, "confirm": "never"}
    bench = booking(tools=[LOOK, {**BOOK, "confirm": "policy"}, never], policies={"confirm_writes": True})
    calls = (("book", '{"room": "7"}'), ("pay", "{}"))
    bench.model.script = [bench.asks(*calls), bench.says("Done.")]
    waits = await bench.run()
    assert [call.tool for call in waits.pause.calls] == ["book"]
    assert (await bench.run(verdicts=on(waits, "approve"))).status == "completed"
    assert called(bench) == ["book", "pay"]


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_kill_between_the_yes_and_the_result_neither_loses_nor_repeats_the_write(booking, moment):
    bench = booking(tools=[LOOK, {**BOOK, "idempotent": True}, PAY])
    bench.model.script = [bench.asks(("book", '{"room": "7"}')), bench.says("Booked.")]
    waits = await bench.run()
    booked: dict[str, int] = {}

    def book(_):
        key = bench.tools.calls[-1].idempotency_key
        first = not booked
        if first and moment == "before":
            booked["tried"] = 0
            raise Killed
        booked[key] = booked.get(key, 0) + (0 if key in booked else 1)
        if first:
            raise Killed
        return "booked"

    bench.tools.tools["book"] = book
    with pytest.raises(Killed):
        await bench.run(verdicts=on(waits, "approve"))
    result = await bench.run(verdicts=on(waits, "approve"), attempt=2)
    assert (result.message, booked[waits.pause.calls[0].call_id]) == ("Booked.", 1)


@pytest.mark.parametrize("decision", ["happened", "repeat", "abandon"])
async def test_an_operator_settles_a_write_of_unknown_outcome(booking, decision):
    bench = booking()
    bench.model.script = [bench.asks(("pay", "{}")), bench.says("Paid it.")]
    bench.tools.tools["pay"] = lambda _: LOST
    waits = await bench.run()
    assert (waits.pause.by, waits.pause.reason, waits.reason) == ("operator", *2 * ("unknown_outcome",))
    bench.tools.tools["pay"] = lambda _: {"receipt": "second"}
    result = await bench.run(verdicts=on(waits, decision, output={"receipt": "first"}))
    if decision == "abandon":
        assert (result.reason, called(bench)) == ("abandoned", ["pay"])
        return
    assert result.message == "Paid it."
    told = json.loads(bench.model.requests[1].messages[-1].content)
    assert told["receipt"] == {"happened": "first", "repeat": "second"}[decision]
    assert called(bench) == ["pay"] * {"happened": 1, "repeat": 2}[decision]
    assert len({call.idempotency_key for call in bench.tools.calls}) == 1


async def test_a_write_that_is_made_once_more_is_in_doubt_again_when_its_process_is_killed(booking):
    bench = booking()
    bench.model.script = [bench.asks(("pay", "{}")), bench.says("Paid it.")]
    bench.tools.tools["pay"] = lambda _: LOST
    waits = await bench.run()

    def killed(_):
        raise Killed

    bench.tools.tools["pay"] = killed
    with pytest.raises(Killed):
        await bench.run(verdicts=on(waits, "repeat"))
    again = await bench.run(verdicts=on(waits, "repeat"), attempt=2)
    assert (again.status, again.reason, len(bench.tools.calls)) == ("waiting", "unknown_outcome", 2)


async def test_an_earlier_yes_does_not_repeat_a_write_of_unknown_outcome(booking):
    bench = booking()
    bench.model.script = [bench.asks(("book", '{"room": "7"}')), bench.says("Booked.")]
    bench.tools.tools["book"] = lambda _: LOST
    waits = await bench.run()
    lost = await bench.run(verdicts=on(waits, "approve"))
    assert lost.pause.reason == "unknown_outcome"
    assert (await bench.run(verdicts=on(waits, "approve"))).pause.reason == "unknown_outcome"
    assert called(bench) == ["book"]


LEAD = {
    "id": "lead", "mode": "agent", "instructions": "Lead.",
    "subtasks": [{"id": "one", "skill": "part"}, {"id": "two", "skill": "reader"}],
}  # fmt: skip
PART = {"id": "part", "mode": "agent", "instructions": "Part.", "tools": ["book", "pay"]}
READER = {"id": "reader", "mode": "agent", "instructions": "Read.", "tools": ["look"]}


def by_who_asks(bench):
    """Answers for three agents at once, told apart by what they are for and what they were told."""

    def answer(request):
        instructions = request.messages[0].content
        results = sum(message.role == "tool" for message in request.messages)
        if "Lead." in instructions:
            parts = (("subtask_one", '{"message": "a"}'), ("subtask_two", '{"message": "b"}'))
            return [bench.asks(*parts), bench.says("Joined.")][min(results, 1)]
        if "Part." in instructions:
            return [bench.asks(("book", '{"room": "7"}')), bench.says("Part done.")][results]
        return [bench.asks(("look", "{}")), bench.says("Read done.")][results]

    return answer


@pytest.mark.parametrize("order", ["parallel", "sequence"])
async def test_a_subtask_that_waits_lets_its_parent_wait_and_both_go_on(make_bench, sql_runs, order):
    bench = make_bench({**LEAD, "subtask_order": order}, PART, READER, tools=[LOOK, BOOK, PAY])
    bench.runs = sql_runs
    bench.tools.tools = {"look": lambda _: "free", "book": lambda _: "booked"}
    bench.model.script = [by_who_asks(bench)]
    waits = await bench.run()
    assert (waits.status, waits.message) == ("waiting", "Shall I go ahead?\n- book room 7")
    assert waits.pause.calls[0].call_id.startswith("turn_1/s/1.0/")
    assert called(bench) == (["look"] if order == "parallel" else [])
    result = await bench.run(verdicts=on(waits, "approve"))
    assert result.message == "Joined."
    assert sorted(called(bench)) == ["book", "look"]
    told = [
        json.loads(message.content) for message in bench.model.requests[-1].messages if message.role == "tool"
    ]
    assert [one["message"] for one in told] == ["Part done.", "Read done."]
    states = {run.run_id: run.status for run, _ in await sql_runs.kept("acme", ["s"], "", 10)}
    assert set(states.values()) == {"completed"}
    assert len(states) == 3


async def test_a_subtask_of_unknown_outcome_lets_its_parent_wait_too(make_bench, sql_runs):
    free = {**BOOK, "confirm": "never"}
    bench = make_bench(LEAD, PART, READER, tools=[LOOK, free, PAY])
    bench.runs = sql_runs
    bench.tools.tools = {"look": lambda _: "free", "book": lambda _: LOST}
    bench.model.script = [by_who_asks(bench)]
    waits = await bench.run()
    assert (waits.status, waits.pause.reason) == ("waiting", "unknown_outcome")
    result = await bench.run(verdicts=on(waits, "happened", output="booked"))
    assert (result.message, called(bench).count("book")) == ("Joined.", 1)


async def test_what_waits_below_a_run_that_is_abandoned_ends_with_it(make_bench, sql_runs):
    bench = make_bench(LEAD, PART, READER, tools=[LOOK, BOOK, PAY])
    bench.runs = sql_runs
    bench.tools.tools = {"look": lambda _: "free"}
    bench.model.script = [by_who_asks(bench)]
    waits = await bench.run()
    await bench.run(verdicts=on(waits, "abandon"))
    states = {run.skill: run.status for run, _ in await sql_runs.kept("acme", ["s"], "", 10)}
    assert states == {"lead": "failed", "part": "cancelled", "reader": "completed"}


async def test_a_function_of_unknown_outcome_waits_and_is_settled(make_bench, sql_runs):
    skill = {"id": "send", "mode": "function", "endpoint": {"url": "https://x.example/", "method": "POST"},
             "reply": "Sent: {{ output.id }}"}  # fmt: skip
    bench = make_bench(skill)
    bench.runs = sql_runs

    def lost(_):
        raise CallFailed("unknown_outcome", "lost")

    bench.http.serve = lost
    waits = await bench.run()
    assert (waits.status, waits.pause.reason) == ("waiting", "unknown_outcome")
    bench.http.serve = lambda _: {"id": 2}
    assert (await bench.run(verdicts=on(waits, "repeat"))).message == "Sent: 2"
    assert bench.http.keys == ["turn_1/s/1"] * 2


async def test_what_a_run_that_asked_leaves_to_later_turns_follows_what_became_of_it(booking):
    bench = booking()
    bench.model.script = [bench.asks(("book", '{"room": "7", "pin": "1234"}')), bench.says("Booked.")]

    async def left():
        [(_, text)] = await bench.runs.transcripts("acme", "s", bench.skill, ["turn_1"])
        assert "1234" not in text
        return Transcript.model_validate_json(text).messages[-1].content

    waits = await bench.run()
    assert "not_made" in await left()
    await bench.run(verdicts=on(waits, "approve"))
    assert await left() == '"booked"'
