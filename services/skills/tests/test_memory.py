"""What later turns are shown of what tools gave in earlier ones: paired, masked, within a budget, append-only."""

import asyncio
import json

import pytest

from signalbox.common.clients import ServiceCallFailed
from signalbox.common.storage import open_database
from signalbox.common.storage.migrations import migrate
from signalbox.contracts.context import CallContext, ChatMessage
from signalbox.contracts.identity import Principal
from signalbox.contracts.llm import FunctionCall, Message, ToolCall
from signalbox.contracts.problem import Problem
from signalbox.contracts.work import SkillRunRequest, ToolError
from signalbox.skills.compaction import tokens_of_messages
from signalbox.skills.memory import Memory
from signalbox.skills.repository import SqlRuns
from signalbox.skills.shortening import shortened


@pytest.fixture
async def sql_runs(tmp_path):
    url = f"sqlite:///{tmp_path / 'skills.db'}"
    await asyncio.to_thread(migrate, "skills", "signalbox.skills.migrations", url)
    database = open_database(url)
    yield SqlRuns(database)
    await database.close()


class Talk:
    """A session of one skill: turns that are committed are in the history of those after them."""

    def __init__(self, bench, session="s"):
        self.bench, self.session, self.history, self.turns = bench, session, [], 0

    async def turn(self, *script, skill=None, commit=True, **more):
        self.turns += 1
        turn_id = f"{self.session}-turn-{self.turns}"
        context = CallContext(
            tenant="acme", subject="key:1", workflow_id="w", config_hash="a" * 64, session_id=self.session,
            user_id="u1", turn_id=turn_id, now_ms=1_795_464_000_000 + self.turns,
        )  # fmt: skip
        skill = skill or self.bench.skill
        message = f"message {self.turns}"
        request = SkillRunRequest(
            context=context, skill=skill, run_id=f"{turn_id}/{skill}", message=message, history=self.history,
            **more,
        )  # fmt: skip
        self.bench.model.script = list(script)
        work = await self.bench.service.prepare(request, Principal(tenant="acme", subject="key:1"))
        result = (await work(self.bench.events.append)).result
        if commit:
            self.history = [
                *self.history,
                ChatMessage(role="user", text=message, turn_id=turn_id),
                ChatMessage(role="assistant", text=result.message, turn_id=turn_id),
            ]
        return result

    @property
    def shown(self):
        """The messages of the turn's first model call, those of this turn alone left out."""
        messages = [request.messages for request in self.bench.model.requests]
        last = max(at for at, shown in enumerate(messages) if shown[-1].role == "user")
        return messages[last][1:-2]


def forms(messages):
    return [
        (message.role, [call.function.name for call in message.tool_calls or ()] or message.content)
        for message in messages
    ]


def assert_paired(messages):
    """Each call has one result right behind it, and no id is twice in the prompt."""
    seen, open_ids = set(), []
    for message in messages:
        if message.role == "tool":
            assert message.tool_call_id == open_ids.pop(0)
            continue
        assert not open_ids
        open_ids = [call.id for call in message.tool_calls or ()]
        assert seen.isdisjoint(open_ids)
        seen |= set(open_ids)
    assert not open_ids


async def test_a_later_turn_is_shown_calls_and_results_between_message_and_answer(make_bench, sql_runs):
    bench = make_bench()
    bench.runs = sql_runs
    bench.tools.tools["look"] = lambda given: {"id": f"id-{given['q']}"}
    bench.tools.tools["book"] = lambda given: {"booked": given}
    talk = Talk(bench)
    await talk.turn(
        bench.asks(("look", '{"q": "a"}'), ("look", '{"q": "b"}'), text="Let me see."), bench.says("Two.")
    )
    await talk.turn(bench.asks(("book", '{"id": "id-a"}')), bench.says("Booked."))
    await talk.turn(bench.says("As I said."))
    assert forms(talk.shown) == [
        ("user", "message 1"),
        ("assistant", ["look", "look"]),
        ("tool", '{"id":"id-a"}'),
        ("tool", '{"id":"id-b"}'),
        ("assistant", "Two."),
        ("user", "message 2"),
        ("assistant", ["book"]),
        ("tool", '{"booked":{"id":"id-a"}}'),
        ("assistant", "Booked."),
    ]
    assert talk.shown[1].content == "Let me see."
    assert json.loads(talk.shown[6].tool_calls[0].function.arguments) == {"id": "id-a"}
    assert_paired(talk.shown)
    assert all(len(call.id) == 9 and call.id.isalnum() for one in talk.shown for call in one.tool_calls or ())
    assert bench.model.labels[-1].stable_ends[1] == 9, "the shared beginning ends with the last earlier turn"


async def test_only_the_same_skill_session_and_committed_turns_are_remembered(make_bench, sql_runs):
    agents = [
        {"id": name, "mode": "agent", "instructions": "Find gear.", "tools": ["look"]}
        for name in ("one", "two")
    ]
    bench = make_bench(*agents)
    bench.runs = sql_runs
    bench.tools.tools["look"] = lambda given: given
    talk, other = Talk(bench), Talk(bench, "other")
    found = bench.asks(("look", '{"q": "secret of s"}'))
    await talk.turn(found, bench.says("One."), skill="one")
    await talk.turn(found, bench.says("Never seen."), skill="one", commit=False)
    await other.turn(bench.says("Hi."), skill="one")
    other.history = talk.history
    for asker, skill, expected in ((talk, "one", 1), (talk, "two", 0), (other, "one", 0)):
        await asker.turn(bench.says("ok"), skill=skill, commit=False)
        assert sum(message.role == "tool" for message in asker.shown) == expected, (asker.session, skill)


async def test_the_prompt_only_grows_and_the_prefix_stays_the_same_bytes(make_bench):
    bench = make_bench(agent={"history": {"tool_results": 2000}})
    bench.tools.tools["look"] = lambda given: {"id": given["q"], "text": "word " * 100}
    talk, leaps, before = Talk(bench), 0, []
    for number in range(40):
        await talk.turn(bench.asks(("look", json.dumps({"q": f"item-{number}"}))), bench.says("Found."))
        now = [message.model_dump_json() for message in talk.shown]
        leaps += now[: len(before)] != before
        before = now
        assert_paired(talk.shown)
        remembered = [message for message in talk.shown if message.role == "tool" or message.tool_calls]
        assert tokens_of_messages(remembered) <= 2000
        if number:
            assert "word " * 100 in remembered[-1].content, "the newest is whole"
    assert len({request.messages[0].model_dump_json() for request in bench.model.requests}) == 1
    assert 1 <= leaps <= 6, "what providers have cached holds for several turns"
    ids = [json.loads(message.content) for message in talk.shown if message.role == "tool"]
    assert "shortened" in ids[0]
    assert ids[0]["shortened"]["id"].startswith("item-"), "ids of older turns are still there"


async def test_nothing_is_kept_or_shown_where_the_skill_wants_none(make_bench):
    bench = make_bench(agent={"history": {"tool_results": 0}})
    bench.tools.tools["look"] = lambda given: given
    talk = Talk(bench)
    await talk.turn(bench.asks(("look", '{"q": "a"}')), bench.says("Found."))
    await talk.turn(bench.says("ok"))
    assert [run.transcript for run in bench.runs.runs.values()] == [None, None]
    assert forms(talk.shown) == [("user", "message 1"), ("assistant", "Found.")]
    assert "earlier turns" not in bench.model.requests[0].messages[0].content


async def test_secret_arguments_are_masked_and_hidden_context_is_not_there(make_bench):
    pin = {"type": "object", "properties": {"pin": {"type": "string", "writeOnly": True}, "user": {}}}
    tool = {
        "id": "look", "parameters": pin, "context": {"user": "{{ context.user_id }}"},
        "request": {"url": "https://x.example/"},
    }  # fmt: skip
    bench = make_bench(tools=[tool], agent={"tools": ["look"]})
    bench.tools.tools["look"] = lambda given: {"you_sent": given, "balance": 7}
    talk = Talk(bench)
    await talk.turn(bench.asks(("look", '{"pin": "4711"}')), bench.says("Seven."))
    await talk.turn(bench.says("ok"))
    [run] = [run for run in bench.runs.runs.values() if run.transcript]
    assert "4711" not in run.transcript
    assert "u1" not in run.transcript
    assert talk.shown[1].tool_calls[0].function.arguments == '{"pin":"***"}'
    assert json.loads(talk.shown[2].content) == {"you_sent": {"pin": "***"}, "balance": 7}


async def test_what_was_denied_or_was_no_call_is_not_remembered(make_bench):
    bench = make_bench()
    bench.tools.tools["look"] = lambda given: given
    talk = Talk(bench)
    calls = bench.asks(("wipe_disk", "{}"), ("look", "{not json"), ("look", '{"q": "a"}'))
    await talk.turn(calls, bench.says("Found."))
    await talk.turn(bench.says("ok"))
    assert forms(talk.shown)[1:3] == [("assistant", ["look"]), ("tool", '{"q":"a"}')]
    assert_paired(talk.shown)


async def test_tools_that_the_skill_no_longer_has_are_not_shown(make_bench):
    bench = make_bench()
    for name in ("look", "look.two"):
        bench.tools.tools[name] = lambda given: given
    talk = Talk(bench)
    await talk.turn(bench.asks(("look", '{"q": "a"}'), ("look_two", "{}")), bench.says("Found."))
    later = make_bench(agent={"tools": ["look"]})
    later.runs, talk.bench = bench.runs, later
    await talk.turn(later.says("ok"))
    assert forms(talk.shown)[1:3] == [("assistant", ["look"]), ("tool", '{"q":"a"}')]
    assert_paired(talk.shown)


async def test_calls_without_a_result_are_closed(make_bench):
    bench = make_bench(agent={"budget": {"tool_calls": 1}})
    bench.tools.tools["look"] = lambda given: given
    talk = Talk(bench)
    many = bench.asks(("look", '{"q": "a"}'), ("look", '{"q": "b"}'), text="Both.")
    assert (await talk.turn(many)).reason == "budget"
    bench.tools.tools["book"] = lambda _: ToolError(code="unknown_outcome", detail="lost")
    assert (await talk.turn(bench.asks(("book", "{}")))).status == "waiting"
    await talk.turn(bench.says("ok"))
    told = [json.loads(message.content)["error"]["code"] for message in talk.shown if message.role == "tool"]
    assert told == ["not_made", "not_made", "unknown_outcome"]
    assert_paired(talk.shown)


async def test_a_killed_run_that_went_on_leaves_all_of_its_calls(make_bench, sql_runs):
    class Killed(BaseException):
        pass

    bench = make_bench()
    bench.runs = sql_runs
    bench.tools.tools["look"] = lambda given: {"id": given["q"]}
    bench.tools.tools["book"] = lambda given: {"booked": given["id"]}
    talk = Talk(bench)
    await talk.turn(bench.asks(("look", '{"q": "old"}')), bench.says("Found."))
    killed = bench.asks(("look", '{"q": "new"}')), bench.asks(("book", '{"id": "new"}')), Killed()
    with pytest.raises(Killed):
        await talk.turn(*killed)
    talk.turns -= 1
    result = await talk.turn(bench.says("Booked."), attempt=2)
    assert result.message == "Booked."
    last = bench.model.requests[-1].messages
    assert forms(last)[2:4] == [("assistant", ["look"]), ("tool", '{"id":"old"}')], "as it had begun"
    await talk.turn(bench.says("ok"))
    assert [message.content for message in talk.shown if message.role == "tool"] == [
        '{"id":"old"}', '{"id":"new"}', '{"booked":"new"}'
    ]  # fmt: skip
    assert_paired(talk.shown)


async def test_where_a_model_reads_less_earlier_results_make_room(make_bench):
    problem = Problem(title="x", status=400, code="context_length_exceeded", detail="too long")
    bench = make_bench()
    bench.tools.tools["look"] = lambda given: {"text": "word " * 150}
    talk = Talk(bench)
    for _ in range(4):
        await talk.turn(bench.asks(("look", "{}")), bench.says("Found."))

    def small_model(request):
        if tokens_of_messages(request.messages) > 500:
            return ServiceCallFailed("llm_gateway", problem, {})
        return bench.says("Fits.")

    assert (await talk.turn(small_model)).message == "Fits."
    assert [text for role, text in forms(talk.shown) if role == "user"] == [
        f"message {number}" for number in range(1, 5)
    ]


async def test_a_run_keeps_no_more_than_the_operator_allows(make_bench):
    bench = make_bench(agent={"max_steps": 30}, llm={"limits": {"calls_per_turn": 100}})
    bench.transcript_chars = 4000
    bench.tools.tools["look"] = lambda given: {
        "id": given["q"],
        "rows": [{"n": n, "t": "x" * 30} for n in range(15)],
    }
    talk = Talk(bench)
    calls = [bench.asks(("look", json.dumps({"q": f"id-{n}"}))) for n in range(12)]
    await talk.turn(*calls, bench.says("Found."))
    [run] = bench.runs.runs.values()
    assert len(run.transcript) < 8000
    await talk.turn(bench.says("ok"))
    results = [message.content for message in talk.shown if message.role == "tool"]
    assert "id-11" in results[-1]
    assert_paired(talk.shown)


async def test_passages_are_remembered_without_the_numbers_of_their_run(make_bench):
    bench = make_bench(knowledge=[{"id": "faq", "tool": "look", "when": "on_demand", "top_k": 2}])
    bench.tools.tools["look"] = lambda given: [{"text": f"About {given['q']}.", "title": "Help"}]
    talk = Talk(bench)
    await talk.turn(bench.asks(("look", '{"q": "tents"}')), bench.says("So [1]."))
    result = await talk.turn(bench.asks(("look", '{"q": "boots"}')), bench.says("So [1]."))
    assert json.loads(talk.shown[2].content) == {"passages": [{"text": "About tents.", "title": "Help"}]}
    assert [part.quote for part in result.parts] == ["About boots."]


def test_a_result_is_shortened_to_its_ids_and_names():
    catalogue = {
        "products": [{"id": f"p-{n}", "name": f"Tent {n}", "text": "x" * 500} for n in range(50)],
        "total": 50,
    }
    short = shortened(json.dumps(catalogue), 400)
    told = json.loads(short)["shortened"]
    assert told["total"] == 50
    assert told["products"][0] | {"text": ""} == {"id": "p-0", "name": "Tent 0", "text": ""}
    assert "more items" in told["products"][-1]
    assert shortened('{"a":1}', 400) == '{"a":1}'
    assert json.loads(shortened(short, 60))["shortened"], "what is short can be made shorter"
    assert len(json.loads(shortened("no json " * 200, 50))["shortened"]) < 250
    assert shortened(json.dumps(catalogue), 400) == short


def test_one_turn_that_is_too_long_for_the_budget_is_not_shown():
    calls = [ToolCall(id=f"c{n}", function=FunctionCall(name="look", arguments="{}")) for n in range(200)]
    results = [Message(role="tool", tool_call_id=call.id, content="x" * 400) for call in calls]
    memory = Memory({"t": [Message(role="assistant", tool_calls=calls), *results]}, frozenset({"look"}))
    assert memory.within(1000) == {}
    assert tokens_of_messages(memory.within(12_000)["t"]) <= 12_000
    assert memory
    assert not Memory({"t": []}, frozenset())
