"""Runs as they are stored, function mode, subtasks, and cancellation."""

import asyncio
import json

import pytest
from prometheus_client import generate_latest
from sqlalchemy import create_engine, inspect

from signalbox.common.context import Deadline, RequestContext, enter_request
from signalbox.common.http_calls import Circuits, HttpCallExecutor
from signalbox.common.storage import DuplicateKey, Statement, open_database
from signalbox.common.storage.migrations import migrate, script_head
from signalbox.common.transport import OutboundResponse
from signalbox.common.web import work_frames
from signalbox.common.write_gate import TurnStopped
from signalbox.contracts.context import CallContext
from signalbox.contracts.identity import Principal
from signalbox.contracts.work import ErrorFrame, SkillRunRequest, ToolError
from signalbox.skills import migrations
from signalbox.skills.errors import UnknownSkill
from signalbox.skills.repository import SqlRuns
from signalbox.skills.tables import METADATA


async def test_a_run_that_only_reads_is_written_once(make_bench):
    bench = make_bench()
    bench.tools.tools["look"] = lambda _: 1
    bench.model.script = [bench.asks(("look", "{}")), bench.says("ok")]
    await bench.run()
    assert bench.runs.writes == ["finish"]
    stored = bench.runs.runs["acme", "turn_1/s"]
    assert (stored.status, stored.steps, stored.input_tokens, stored.cost_pico) == (
        "completed",
        2,
        20,
        2_000_000_000,
    )
    assert stored.request == "{}"


async def test_a_write_is_noted_before_it_is_made_and_its_result_after(make_bench):
    bench = make_bench()
    seen = []
    bench.tools.tools["book"] = lambda _: (
        seen.append([step.status for step in bench.runs.steps_by_key.values()]) or {"id": 7}
    )
    bench.model.script = [bench.asks(("book", '{"n": 1}')), bench.asks(("book", "{}")), bench.says("Booked.")]
    await bench.run("book it")
    assert bench.runs.writes == ["begin", "end_step", "begin_step", "end_step", "finish"]
    assert seen == [["begun"], ["done", "begun"]]
    step = bench.runs.steps_by_key["acme", "turn_1/s", "1.0"]
    assert (step.idempotency_key, json.loads(step.arguments), json.loads(step.output)) == (
        "turn_1/s/1.0", {"n": 1}, {"id": 7},
    )  # fmt: skip


async def test_a_write_whose_answer_was_lost_is_noted_as_unknown(make_bench):
    bench = make_bench()
    bench.tools.tools["book"] = lambda _: ToolError(code="unknown_outcome", detail="lost")
    bench.model.script = [bench.asks(("book", "{}")), bench.says("I cannot tell.")]
    result = await bench.run()
    assert (result.status, result.reason) == ("waiting", "unknown_outcome")
    assert bench.runs.steps_by_key["acme", "turn_1/s", "1.0"].status == "unknown"


async def test_a_run_that_has_ended_gives_its_result_again(make_bench):
    bench = make_bench()
    first = await bench.run()
    bench.events.clear()
    assert await bench.run() == first
    assert bench.streamed == first.message
    assert len(bench.model.requests) == 1


async def test_a_result_is_not_lost_when_it_cannot_be_stored(make_bench):
    bench = make_bench()

    async def full(run, *, begun):
        raise DuplicateKey("skills_runs")

    bench.runs.finish = full
    assert (await bench.run()).status == "completed"


async def test_cancelling_stops_the_model_and_waits_for_a_write(make_bench):
    bench = make_bench()
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def book(_):
        begun.set()
        await may_end.wait()
        return {"id": 7}

    bench.tools.tools["book"] = book
    bench.model.script = [bench.asks(("book", "{}"))]
    run = asyncio.create_task(bench.run())
    await begun.wait()
    run.cancel()
    await asyncio.sleep(0)
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert bench.runs.steps_by_key["acme", "turn_1/s", "1.0"].status == "done"
    assert bench.runs.runs["acme", "turn_1/s"].status == "cancelled"
    assert len(bench.model.requests) == 1


async def test_a_reader_that_leaves_cancels_the_model_call(make_bench):
    bench = make_bench()
    closed = asyncio.Event()
    stream = bench.model.stream

    async def watched(request, labels):
        try:
            async for piece in stream(request, labels):
                yield piece
        finally:
            closed.set()

    bench.model.stream = watched
    bench.model.hang_after = 1
    work = await bench.service.prepare(request(bench.skill), Principal(tenant="acme", subject="key:1"))
    frames = work_frames(work)
    assert [frame.frame for frame in await anext(frames)] == ["event"]
    await frames.aclose()
    assert closed.is_set()


async def test_a_defect_in_the_middle_ends_the_stream_with_a_problem(make_bench, caplog):
    bench = make_bench()
    bench.model.script = [ValueError("s3cr3t")]
    work = await bench.service.prepare(request(bench.skill), Principal(tenant="acme", subject="key:1"))
    frames = [frame for ready in [item async for item in work_frames(work)] for frame in ready]
    assert isinstance(frames[-1], ErrorFrame)
    assert (frames[-1].problem.code, frames[-1].problem.status) == ("internal_error", 500)
    assert "s3cr3t" not in frames[-1].model_dump_json()


async def test_the_deadline_ends_the_stream(make_bench):
    enter_request(RequestContext("r", Deadline.after(0.05)))

    async def never(emit):
        await asyncio.Event().wait()

    frames = [frame for ready in [item async for item in work_frames(never)] for frame in ready]
    assert frames[-1].problem.code == "deadline_exceeded"


def request(skill: str, run_id: str = "turn_1/s") -> SkillRunRequest:
    context = CallContext(
        tenant="acme",
        subject="key:1",
        workflow_id="w",
        config_hash="a" * 64,
        session_id="s",
        turn_id="turn_1",
        now_ms=0,
    )
    return SkillRunRequest(context=context, skill=skill, run_id=run_id, message="hi")


async def test_an_unknown_skill_is_a_problem_before_the_stream(make_bench):
    with pytest.raises(UnknownSkill):
        await make_bench().service.prepare(request("nothing"), Principal(tenant="acme", subject="key:1"))


ESTIMATE = {
    "id": "estimate",
    "mode": "function",
    "endpoint": {"method": "POST", "url": "{{ vars.base }}/e", "body": {"to": "{{ arguments.to }}"}},
    "input_schema": {"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]},
    "output_schema": {"type": "object", "required": ["days"]},
    "reply": {"en": "To {{ arguments.to }}: {{ output.days }} days.", "zh": "{{ output.days }}天。"},
}


async def test_a_function_whose_endpoint_keeps_failing_is_not_called_for_a_while(make_bench):
    class Down:
        sent = 0

        async def send(self, request):
            Down.sent += 1
            return OutboundResponse(503, {}, b"")

        async def aclose(self):
            pass

    skill = {
        "id": "ship", "mode": "function", "endpoint": {"url": "https://x.example/days"}, "retry": {"attempts": 1},
        "circuit": {"min_calls": 3, "open_seconds": 60},
    }  # fmt: skip
    for circuit, sent in ((skill["circuit"], 3), (None, 6)):
        Down.sent = 0
        bench = make_bench({**skill, "circuit": circuit})
        opened = Circuits(opened=bench.skill_metrics.opened)
        bench.http = HttpCallExecutor(Down(), None, circuits=opened)
        reasons = [(await bench.run(run_id=f"run-{number}")).reason for number in range(6)]
        assert Down.sent == sent
        assert reasons == ["upstream_error"] * sent + ["unreachable"] * (6 - sent)
        shown = generate_latest(bench.metrics.registry).decode()
        assert f"signalbox_skill_circuits_opened_total {1.0 if circuit else 0.0}" in shown


async def test_a_function_over_http(make_bench):
    bench = make_bench(ESTIMATE)
    bench.http.serve = lambda sent: {"days": 3, "sent": sent["body"]}
    result = await bench.run(arguments={"to": "France"})
    assert (result.status, result.message, result.output["sent"]) == (
        "completed",
        "To France: 3 days.",
        {"to": "France"},
    )
    assert bench.streamed == result.message
    assert bench.http.keys == ["turn_1/s/1"]
    assert bench.runs.writes == ["begin", "end_step", "finish"]


async def test_a_function_checks_what_goes_in_and_what_comes_out(make_bench):
    bench = make_bench(ESTIMATE)
    result = await bench.run(arguments={"to": 7})
    assert (result.status, result.reason, bench.http.keys) == ("failed", "invalid_arguments", [])
    bench.http.serve = lambda _: {"weeks": 1}
    assert (await bench.run(run_id="turn_2/s", arguments={"to": "x"})).reason == "bad_response"


async def test_a_function_that_may_write_is_not_begun_in_a_turn_that_is_stopped(make_bench):
    bench, idempotent = make_bench(ESTIMATE), make_bench({**ESTIMATE, "idempotent": True})
    for one in (bench, idempotent):
        one.http.serve = lambda _: {"days": 3}
        assert await one.gate.close("acme", "turn_1", 1)
    with pytest.raises(TurnStopped):
        await bench.run(arguments={"to": "France"})
    assert bench.http.keys == []
    assert (await idempotent.run(arguments={"to": "France"})).status == "completed"


async def test_registered_functions_and_replies_without_a_template(make_bench):
    async def double(arguments, context):
        return {"message": f"{arguments['n'] * 2} for {context.tenant}"}

    described = {"id": "double", "mode": "function", "function": "double"}
    bench = make_bench(described, functions={"double": double})
    assert (await bench.run(arguments={"n": 2})).message == "4 for acme"
    plain = make_bench(described, functions={"double": lambda arguments, context: {"n": 1}})
    assert (await plain.run()).message == '{"n":1}'
    assert (await make_bench(described).run()).reason == "refused"


WORKER = {"id": "worker", "mode": "agent", "instructions": "Work.", "tools": ["look"]}
LEADER = {
    "id": "leader", "mode": "agent", "instructions": "Lead.",
    "subtasks": [
        {"id": "a", "skill": "worker", "description": "First half."},
        {"id": "b", "skill": "worker", "arguments": {"part": "{{ arguments.part }}"}, "budget": {"tool_calls": 0}},
    ],
}  # fmt: skip


async def test_subtasks_run_at_once_and_their_results_are_joined(make_bench):
    bench = make_bench(LEADER, WORKER)
    both = asyncio.Barrier(2)

    async def stream(sent, labels):
        for piece in await answer(sent):
            yield piece

    from signalbox.common.clients import ChatChunk

    async def answer(sent):
        bench.model.requests.append(sent)
        if sent.messages[-1].role == "tool":
            script = bench.says("Both are done.")
        elif "Lead." in sent.messages[0].content:
            script = bench.asks(("subtask_a", '{"message": "one"}'), ("subtask_b", '{"message": "two"}'))
        else:
            await asyncio.wait_for(both.wait(), 5)
            script = bench.says(f"Did {sent.messages[-1].content}.")
        return [ChatChunk.model_validate(piece) for piece in script]

    bench.model.stream = stream
    result = await bench.run(arguments={"part": 2})
    assert (result.message, bench.streamed) == ("Both are done.", "Both are done.")
    joined = [
        json.loads(message.content) for message in bench.model.requests[-1].messages if message.role == "tool"
    ]
    assert [(part["status"], part["message"]) for part in joined] == [
        ("completed", "Did one."),
        ("completed", "Did two."),
    ]
    assert sorted(bench.told) == [("subtask_a", True), ("subtask_b", True)]
    stored = {run_id: run for (_, run_id), run in bench.runs.runs.items()}
    assert {run.parent_run_id for run in stored.values()} == {None, "turn_1/s"}
    assert stored["turn_1/s"].input_tokens == 40
    spans = {span.name: span for span in bench.spans.get_finished_spans()}
    assert spans["skill worker"].parent is not None


async def test_a_subtask_keeps_to_its_own_budget_and_the_others_are_kept(make_bench):
    bench = make_bench(LEADER, WORKER)
    bench.tools.tools["look"] = lambda _: 1
    bench.model.script = [
        bench.asks(("subtask_b", '{"message": "two"}')),
        bench.asks(("look", "{}")),
        bench.says("One part failed."),
    ]
    assert (await bench.run(arguments={"part": 2})).message == "One part failed."
    told = json.loads(bench.model.requests[-1].messages[-1].content)
    assert (told["status"], told["reason"]) == ("failed", "budget")
    assert bench.tools.calls == []


async def test_subtasks_are_three_levels_deep_at_most(make_bench):
    endless = {"id": "e", "mode": "agent", "instructions": "x", "subtasks": [{"id": "s", "skill": "e"}]}
    bench = make_bench(endless)
    deepest = bench.asks(("subtask_s", '{"message": "on"}'))
    bench.model.script = [deepest, deepest, deepest, bench.says("end")]
    assert (await bench.run()).message == "end"
    refused = json.loads(bench.model.requests[3].messages[-1].content)
    assert refused["error"]["code"] == "refused"


async def test_runs_in_a_real_database(make_bench, tmp_path):
    url = f"sqlite:///{tmp_path / 'skills.db'}"
    await asyncio.to_thread(migrate, "skills", "signalbox.skills.migrations", url)
    database = open_database(url)
    try:
        bench = make_bench()
        bench.runs = SqlRuns(database)
        bench.tools.tools["book"] = lambda _: {"id": 7}
        bench.model.script = [bench.asks(("book", "{}")), bench.says("Booked.")]
        first = await bench.run()
        assert await bench.run() == first
        assert await bench.runs.find("other", "turn_1/s") is None
        steps = await database.fetch_all(Statement("SELECT * FROM skills_run_steps"))
        assert [(step["step"], step["status"], step["output"]) for step in steps] == [
            ("1.0", "done", '{"id":7}')
        ]
        stored = await bench.runs.find("acme", "turn_1/s")
        assert (stored.status, stored.output_tokens) == ("completed", 20)
    finally:
        await database.close()


def test_the_migrations_make_the_tables_of_the_code(tmp_path):
    path = tmp_path / "skills.db"
    migrate("skills", "signalbox.skills.migrations", f"sqlite:///{path}")
    assert script_head("signalbox.skills.migrations") == migrations.HEAD
    made = inspect(create_engine(f"sqlite:///{path}"))
    for table in METADATA.tables.values():
        columns = made.get_columns(table.name)
        assert {column["name"]: column["nullable"] for column in columns} == {
            column.name: column.nullable for column in table.columns
        }
        assert made.get_pk_constraint(table.name)["constrained_columns"] == [
            c.name for c in table.primary_key
        ]
