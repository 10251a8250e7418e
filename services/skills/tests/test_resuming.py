"""Runs that were interrupted go on: no write twice, none forgotten, and doubt is told."""

import asyncio

import pytest

from signalbox.common.storage import PreconditionFailed, open_database
from signalbox.common.storage.migrations import migrate
from signalbox.contracts.config import Budget
from signalbox.contracts.work import ToolError
from signalbox.skills.budget import Meter
from signalbox.skills.checkpoint import Checkpoint
from signalbox.skills.repository import SqlRuns

LOST = ToolError(code="unknown_outcome", detail="lost")
BOOK = {"id": "book", "effect": "write", "request": {"url": "https://x.example/", "method": "POST"}}
LOOK = {"id": "look", "request": {"url": "https://x.example/"}}
CHECK = {
    "tool": "look",
    "arguments": {"q": "{{ arguments.n }} {{ idempotency_key }}"},
    "done_when": "result.there",
}


class Killed(BaseException):
    """Ends a run as a kill would: nothing of it is stored any more."""


@pytest.fixture
async def sql_runs(tmp_path):
    url = f"sqlite:///{tmp_path / 'skills.db'}"
    await asyncio.to_thread(migrate, "skills", "signalbox.skills.migrations", url)
    database = open_database(url)
    yield SqlRuns(database)
    await database.close()


def five_steps(bench):
    """A read, a write, a read, a write and the answer; each answer follows from what the model is shown."""

    def next_answer(request):
        results = sum(message.role == "tool" for message in request.messages)
        return [
            bench.asks(("look", '{"q": "1"}')),
            bench.asks(("book", '{"n": 1}')),
            bench.asks(("look", '{"q": "2"}')),
            bench.asks(("book", '{"n": 2}')),
            bench.says("Both are booked."),
        ][results]

    return next_answer


@pytest.mark.parametrize("kill_before", ["look 1", "book 1", "look 2", "book 2"])
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_run_that_is_killed_at_a_step_goes_on_and_writes_once(
    make_bench, sql_runs, kill_before, moment
):
    bench = make_bench(
        tools=[LOOK, {**BOOK, "idempotent": True}], agent={"tools": ["look", "book"], "max_steps": 6}
    )
    bench.runs = sql_runs
    bench.model.script = [five_steps(bench)]
    kept, killed = {}, []

    def call(name, number):
        key = bench.tools.calls[-1].idempotency_key
        if f"{name} {number}" == kill_before and moment == "before" and not killed:
            killed.append(key)
            raise Killed
        made = kept.setdefault(key, {"id": len(kept)}) if name == "book" else {}
        if f"{name} {number}" == kill_before and not killed:
            killed.append(key)
            raise Killed
        return made

    bench.tools.tools["look"] = lambda arguments: call("look", arguments["q"])
    bench.tools.tools["book"] = lambda arguments: call("book", arguments["n"])
    with pytest.raises(Killed):
        await bench.run()
    result = await bench.run(attempt=2)
    assert (result.status, result.message, result.steps) == ("completed", "Both are booked.", 5)
    assert sorted(kept) == ["turn_1/s/2.0", "turn_1/s/4.0"]
    assert [step.status for step in await sql_runs.steps("acme", "turn_1/s")] == ["done", "done"]
    assert (await sql_runs.find("acme", "turn_1/s")).state is None


async def test_a_write_that_was_noted_is_not_made_again(make_bench):
    bench = make_bench()
    bench.tools.tools["book"] = lambda _: {"id": 7}
    bench.model.script = [bench.asks(("book", "{}")), RuntimeError("killed here"), bench.says("Booked 7.")]
    with pytest.raises(RuntimeError):
        await bench.run()
    result = await bench.run(attempt=2)
    assert (result.message, len(bench.tools.calls), result.steps) == ("Booked 7.", 1, 2)
    assert [label.idempotency_key for label in bench.model.labels] == [
        "turn_1/s/0/model",
        "turn_1/s/1/model",
        "turn_1/s/1/model/attempt2",
    ]


@pytest.mark.parametrize(("idempotent", "calls"), [(True, 2), (False, 1)])
async def test_only_an_idempotent_write_is_made_again_in_doubt(make_bench, idempotent, calls):
    bench = make_bench(tools=[{**BOOK, "idempotent": idempotent}], agent={"tools": ["book"]})
    answers = [LOST, {"id": 7}]
    bench.tools.tools["book"] = lambda _: answers.pop(0)
    bench.model.script = [bench.asks(("book", "{}")), bench.says("Booked.")]
    result = await bench.run()
    assert len(bench.tools.calls) == calls
    assert (result.status, result.reason) == (
        ("completed", None) if idempotent else ("waiting", "unknown_outcome")
    )
    assert len({call.idempotency_key for call in bench.tools.calls}) == 1
    assert await bench.run() == result
    assert len(bench.tools.calls) == calls


@pytest.mark.parametrize(
    ("check", "writes", "status"),
    [
        ({"there": True}, 1, "completed"),
        ({"there": False}, 2, "completed"),
        (LOST, 1, "waiting"),
        ({}, 1, "waiting"),
    ],
)
async def test_the_status_check_is_asked_before_a_write_is_made_again(make_bench, check, writes, status):
    bench = make_bench(tools=[LOOK, {**BOOK, "status_check": CHECK}], agent={"tools": ["book"]})
    answers = [LOST, {"id": 7}]
    bench.tools.tools["book"] = lambda _: answers.pop(0)
    bench.tools.tools["look"] = lambda _: check
    bench.model.script = [bench.asks(("book", '{"n": 3}')), bench.says("Booked.")]
    assert (await bench.run()).status == status
    called = [call.tool for call in bench.tools.calls]
    assert called == ["book", "look", "book"][: writes + 1]
    assert bench.tools.calls[1].arguments == {"q": "3 turn_1/s/1.0"}


async def test_a_process_that_was_taken_for_dead_writes_no_more(make_bench, sql_runs):
    bench = make_bench()
    bench.runs = sql_runs
    bench.tools.tools["book"] = lambda _: {"id": 7}
    bench.model.script = [bench.asks(("book", "{}")), RuntimeError("killed here")]
    with pytest.raises(RuntimeError):
        await bench.run()
    old = await sql_runs.find("acme", "turn_1/s")
    new = await sql_runs.take(old, 1)
    assert new.attempt == 2
    [step] = await sql_runs.steps("acme", "turn_1/s")
    with pytest.raises(PreconditionFailed):
        await sql_runs.take(old, 1)
    with pytest.raises(PreconditionFailed):
        await sql_runs.checkpoint(old)
    with pytest.raises(PreconditionFailed):
        await sql_runs.begin_step(old, step)


async def test_a_run_that_was_cut_off_goes_on(make_bench):
    bench = make_bench()
    bench.tools.tools["book"] = lambda _: {"id": 7}
    bench.model.script = [bench.asks(("book", "{}")), asyncio.CancelledError(), bench.says("Booked.")]
    with pytest.raises(asyncio.CancelledError):
        await bench.run()
    assert (await bench.run(attempt=2)).message == "Booked."
    assert len(bench.tools.calls) == 1


async def test_a_function_that_may_have_written_is_not_called_again(make_bench):
    function = {
        "id": "pay",
        "mode": "function",
        "endpoint": {"method": "POST", "url": "https://x.example/"},
    }
    bench = make_bench(function)

    def killed(_):
        raise Killed

    bench.http.serve = killed
    with pytest.raises(Killed):
        await bench.run()
    result = await bench.run(attempt=2)
    assert (result.status, result.reason, len(bench.http.keys)) == ("waiting", "unknown_outcome", 1)


async def test_what_an_interrupted_attempt_used_counts(make_bench):
    bench = make_bench(agent={"budget": {"tool_calls": 1}})
    bench.tools.tools["book"] = lambda _: 1
    bench.model.script = [bench.asks(("book", "{}")), RuntimeError("killed"), bench.asks(("look", "{}"))]
    with pytest.raises(RuntimeError):
        await bench.run()
    result = await bench.run(attempt=2)
    assert result.reason == "budget"
    assert [call.tool for call in bench.tools.calls] == ["book"]


async def test_a_budget_in_seconds_is_of_all_attempts(make_bench, sql_runs):
    bench = make_bench(agent={"budget": {"seconds": 30}})
    bench.runs = sql_runs
    bench.tools.tools["book"] = lambda _: {"id": 7}
    bench.model.script = [bench.asks(("book", "{}")), Killed()]
    with pytest.raises(Killed):
        await bench.run()
    stood = Checkpoint.model_validate_json((await sql_runs.find("acme", "turn_1/s")).state)
    assert 0 < stood.seconds < 30
    asked = len(bench.model.requests)
    result = await bench.run(attempt=2, elapsed_ms=30_001)
    assert (result.status, result.reason) == ("failed", "budget")
    assert len(bench.model.requests) == asked, "nothing more is begun"


async def test_a_run_of_which_nothing_is_stored_has_what_the_caller_counted(make_bench):
    bench = make_bench(agent={"budget": {"seconds": 30}})
    assert (await bench.run(attempt=2, elapsed_ms=30_001)).reason == "budget"
    assert (await bench.run(run_id="other", attempt=2, elapsed_ms=1_000)).status == "completed"


def test_time_of_earlier_attempts_counts_once():
    meter = Meter(Budget(seconds=30))
    meter.charge_time(10)
    meter.charge_time(8)
    assert 19 < meter.time_left() < 20.1
    assert 10 <= meter.seconds < 11
    meter.charge_time(31)
    assert meter.exceeded() == "budget"
