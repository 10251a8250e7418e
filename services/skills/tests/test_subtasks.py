"""Subtasks: at once or in order, joined, each with a budget of its own; one that fails leaves the others alone."""

import asyncio
import json

import pytest

from signalbox.common.clients import ChatChunk
from signalbox.common.context import Deadline, RequestContext, enter_request
from signalbox.contracts.config import Budget
from signalbox.skills.budget import Meter
from signalbox.skills.errors import OutOfTime

WORKER = {"id": "worker", "mode": "agent", "instructions": "Work.", "tools": ["look"]}
COUNT = {
    "id": "count", "mode": "function", "function": "count",
    "input_schema": {
        "type": "object", "properties": {"of": {"type": "string"}, "from": {"type": "integer"}},
        "required": ["of", "from"], "additionalProperties": False,
    },
}  # fmt: skip


def leader(*subtasks, **more):
    return {"id": "leader", "mode": "agent", "instructions": "Lead.", "subtasks": list(subtasks), **more}


def part(name, skill="worker", **more):
    return {"id": name, "skill": skill, **more}


def call(name, **arguments):
    return f"subtask_{name}", json.dumps(arguments)


def results(request):
    return [json.loads(message.content) for message in request.messages if message.role == "tool"]


def played(bench, calls, work):
    """Scripts the leader to make ``calls`` and then to end; ``work`` says what a worker does with its message."""

    async def stream(request, labels):
        bench.model.requests.append(request.model_copy(deep=True))
        if "Lead." not in request.messages[0].content:
            script = bench.says(await work(request.messages[-1].content))
        elif request.messages[-1].role == "tool":
            script = bench.says("Joined.")
        else:
            script = bench.asks(*calls)
        for piece in script:
            yield ChatChunk.model_validate(piece)

    bench.model.stream = stream


async def test_one_that_fails_by_a_bug_is_told_and_the_others_are_kept(make_bench):
    bench = make_bench(leader(part("a"), part("b"), part("c")), WORKER)
    all_there = asyncio.Barrier(3)

    async def work(message):
        await asyncio.wait_for(all_there.wait(), 5)
        if message == "two":
            raise RuntimeError("a bug")
        return f"Did {message}."

    played(bench, [call("a", message="one"), call("b", message="two"), call("c", message="three")], work)
    result = await bench.run()
    assert (result.status, result.message) == ("completed", "Joined.")
    first, failed, third = results(bench.model.requests[-1])
    assert (first["message"], third["message"]) == ("Did one.", "Did three.")
    assert failed["error"]["code"] == "upstream_error"
    assert "a bug" not in json.dumps(failed)
    assert sorted(bench.told) == [("subtask_a", True), ("subtask_b", False), ("subtask_c", True)]


async def test_in_order_each_may_use_what_the_ones_before_it_gave(make_bench):
    counted = []

    def count(arguments, context):
        counted.append(arguments)
        return {"n": arguments["from"] + 1}

    bench = make_bench(
        leader(
            part("a", "count", arguments={"from": 1}),
            part("b", "count", arguments={"from": "{{ subtasks.a.output.n }}"}),
            part("c"),
            subtask_order="sequence",
        ),
        COUNT, WORKER, functions={"count": count},
    )  # fmt: skip
    seen = []

    async def work(message):
        seen.append(bench.model.requests[-1].messages[-2].content)
        return "Summed up."

    played(bench, [call("a", of="x"), call("b", of="y"), call("c", message="sum up")], work)
    assert (await bench.run()).message == "Joined."
    assert counted == [{"of": "x", "from": 1}, {"of": "y", "from": 2}], "a whole placeholder keeps its type"
    assert [one["output"] for one in results(bench.model.requests[-1])] == [{"n": 2}, {"n": 3}, None]
    assert '"earlier_subtasks":{"a":{' in seen[0]
    assert '"output":{"n":3}' in seen[0]


async def test_what_is_needed_of_a_subtask_that_did_not_run_is_a_refusal(make_bench):
    bench = make_bench(
        leader(part("a"), part("b", "count", arguments={"from": "{{ subtasks.a.output.n }}"})),
        WORKER, COUNT, functions={"count": lambda arguments, context: 1},
    )  # fmt: skip
    bench.model.script = [bench.asks(call("b", of="x")), bench.says("No.")]
    await bench.run()
    [told] = results(bench.model.requests[-1])
    assert told["error"]["code"] == "refused"


async def test_a_function_is_offered_with_its_input_less_what_the_config_gives(make_bench):
    bench = make_bench(
        leader(part("a", "count", arguments={"from": 1})), COUNT,
        functions={"count": lambda arguments, context: {"n": arguments["from"]}},
    )  # fmt: skip
    bench.model.script = [bench.asks(call("a", of="x", **{"from": 99})), bench.says("ok")]
    await bench.run()
    offered = bench.model.requests[0].tools[0]["function"]["parameters"]
    assert offered == {
        "type": "object", "properties": {"of": {"type": "string"}}, "required": ["of"],
        "additionalProperties": False,
    }  # fmt: skip
    assert results(bench.model.requests[-1])[0]["output"] == {"n": 1}, "the config stands over the model"


async def test_a_cancelled_run_leaves_no_subtask_behind(make_bench):
    bench = make_bench(leader(part("a"), part("b")), WORKER)
    begun, ended = asyncio.Barrier(3), []

    async def work(message):
        try:
            await begun.wait()
            await asyncio.Event().wait()
        finally:
            ended.append(message)

    played(bench, [call("a", message="one"), call("b", message="two")], work)
    run = asyncio.create_task(bench.run())
    await asyncio.wait_for(begun.wait(), 5)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert sorted(ended) == ["one", "two"]
    assert {record.status for record in bench.runs.runs.values()} == {"cancelled"}


def test_a_subtask_ends_before_the_time_of_its_parent_does():
    enter_request(RequestContext("r", Deadline.after(100)))
    parent = Meter(Budget(seconds=10))
    longer, shorter = Meter(Budget(seconds=60), parent=parent), Meter(Budget(seconds=1), parent=parent)
    assert 9 < longer.time_left() < parent.time_left() - 0.4
    assert 0.9 < shorter.time_left() <= 1
    late = Meter(Budget(seconds=0.000001))
    with pytest.raises(OutOfTime):
        Meter(Budget(), parent=late).time_left()
