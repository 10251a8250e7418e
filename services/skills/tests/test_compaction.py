"""Long runs: older steps become notes, and what a model reads stays within its room."""

import json

from signalbox.common.clients import ServiceCallFailed
from signalbox.contracts.problem import Problem
from signalbox.skills.compaction import tokens_of_messages


def too_long():
    problem = Problem(title="x", status=400, code="context_length_exceeded", detail="too long")
    return ServiceCallFailed("llm_gateway", problem, {})


def is_compaction(request):
    return request.messages[0].content.startswith("An agent works in steps")


class Play:
    """Looks ``times`` times and answers; notes are written, or cannot be, as ``notes`` says."""

    def __init__(self, bench, times, notes):
        self.bench, self.times, self.notes, self.done = bench, times, notes, 0

    def __call__(self, request):
        if is_compaction(request):
            return self.notes if isinstance(self.notes, Exception) else self.bench.says(self.notes)
        self.done += 1
        if self.done > self.times:
            return self.bench.says("All is found.")
        return self.bench.asks(("look", json.dumps({"q": f"item {self.done}"})))


def make_long(make_bench, times, notes):
    bench = make_bench(agent={"max_steps": 100}, llm={"limits": {"calls_per_turn": 100}})
    bench.tools.tools["look"] = lambda given: {"of": given["q"], "text": "word " * 180}
    bench.context_tokens = 4000
    bench.model.script = [Play(bench, times, notes)]
    return bench


def prompts(bench):
    return [request for request in bench.model.requests if not is_compaction(request)]


def paired(request):
    """Whether each result stands behind the call that it is of, as providers demand."""
    asked = []
    for message in request.messages:
        if message.role == "assistant":
            asked = [call.id for call in message.tool_calls or ()]
        elif message.role == "tool":
            if message.tool_call_id not in asked:
                return False
            asked.remove(message.tool_call_id)
    return True


async def test_older_steps_become_notes(make_bench):
    bench = make_long(make_bench, 30, "Items so far are fine.")
    result = await bench.run("look at everything")
    assert (result.status, result.message, bench.streamed) == ("completed", "All is found.", "All is found.")
    asked = prompts(bench)
    assert len(asked) == 31
    compactions = len(bench.model.requests) - len(asked)
    assert 1 < compactions < 6, "some steps lie between two"
    assert result.steps == 31
    assert len(result.usage) == len(bench.model.requests), "notes are paid for by the run"
    head = [message.model_dump_json() for message in asked[0].messages]
    for request in asked:
        assert tokens_of_messages(request.messages) <= 4000
        assert [message.model_dump_json() for message in request.messages[: len(head)]] == head
        assert paired(request)
    last = asked[-1].messages
    [notes] = [message for message in last if message.role == "assistant" and not message.tool_calls]
    assert notes.content.endswith("Items so far are fine.")
    assert json.loads(last[-1].content)["of"] == "item 30", "the newest step is whole"
    keys = [labels.idempotency_key for labels in bench.model.labels]
    assert len(set(keys)) == len(keys)
    assert sum(labels.purpose == "compaction" for labels in bench.model.labels) == compactions


async def test_the_second_notes_have_the_first_in_view(make_bench):
    bench = make_long(make_bench, 30, "Remember 4711.")
    await bench.run()
    _, second, *_ = [request for request in bench.model.requests if is_compaction(request)]
    assert "Remember 4711." in second.messages[-1].content


async def test_without_notes_old_results_are_left_out(make_bench):
    bench = make_long(make_bench, 30, too_long())
    result = await bench.run()
    assert result.message == "All is found."
    last = prompts(bench)[-1]
    assert tokens_of_messages(last.messages) <= 4000
    assert paired(last)
    assert sum("left_out" in (message.content or "") for message in last.messages) > 3
    assert json.loads(last.messages[-1].content)["of"] == "item 30"


async def test_the_provider_has_the_last_word_on_what_is_too_long(make_bench):
    bench = make_long(make_bench, 3, "Two were found.")
    play = bench.model.script[0]
    refused = []

    def script(request):
        if not is_compaction(request) and len(request.messages) > 8 and not refused:
            refused.append(len(request.messages))
            return too_long()
        return play(request)

    bench.model.script = [script]
    result = await bench.run()
    assert refused
    assert (result.status, result.message) == ("completed", "All is found.")
    assert bench.told == [("look", True)] * 3, "nothing is done again"


async def test_a_run_without_steps_cannot_be_made_shorter(make_bench):
    bench = make_bench()
    bench.model.script = [too_long()]
    result = await bench.run()
    assert (result.status, result.reason) == ("failed", "model_refused")
    assert len(bench.model.requests) == 1
