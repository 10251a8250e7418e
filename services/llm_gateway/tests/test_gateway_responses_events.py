"""Chat answers as responses and as their events."""

import asyncio

import orjson
import pytest

from signalbox.common.storage import DuplicateKey, StorageUnavailable
from signalbox.llm_gateway.errors import ProviderBroke, ProviderRefused
from signalbox.llm_gateway.responses.background import EventLog
from signalbox.llm_gateway.responses.chat_chunks import chat_chunks
from signalbox.llm_gateway.responses.events import ResponseEvents, last_events, opening_events, written
from signalbox.llm_gateway.responses.records import batch_of
from signalbox.llm_gateway.responses.request import ResponsesRequest
from signalbox.llm_gateway.responses.resource import opened
from signalbox.llm_gateway.responses.stream import ResponseStream

USAGE = {
    "prompt_tokens": 10,
    "completion_tokens": 4,
    "prompt_tokens_details": {"cached_tokens": 3, "cache_creation_tokens": 2},
    "completion_tokens_details": {"reasoning_tokens": 1},
}


def maker(**fields):
    request = ResponsesRequest.parse(orjson.dumps({"model": "m", "input": "hi", **fields}))
    prompt = request.chat(request.items, stream=True).fields
    return ResponseEvents(opened("resp_1", request, "in_progress"), request, prompt)


def delta(finish=None, **members):
    return {"choices": [{"index": 0, "delta": members, "finish_reason": finish}]}


def piece(index, arguments="", **members):
    return delta(tool_calls=[{"index": index, "function": {"arguments": arguments}, **members}])


def told(*chunks, **fields):
    """The events of a stream of ``chunks``, and the response that they make."""
    events = maker(**fields)
    made = [event for chunk in chunks for event in events.chunk(chunk)]
    return [*made, *events.end()], events.response


def kinds(events):
    return [event["type"].removeprefix("response.") for event in events]


def test_the_events_of_a_text_are_exact():
    events, response = told(
        delta(role="assistant", content=""), delta(content="he"), delta(content="llo"), delta("stop")
    )
    item_id = events[0]["item"]["id"]
    place = {"item_id": item_id, "output_index": 0, "content_index": 0}
    part = {"type": "output_text", "annotations": [], "logprobs": []}
    item = {"id": item_id, "type": "message", "role": "assistant"}
    done = {**item, "status": "completed", "content": [{**part, "text": "hello"}]}
    assert events == [
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {**item, "status": "in_progress", "content": []},
        },
        {"type": "response.content_part.added", **place, "part": {**part, "text": ""}},
        {"type": "response.output_text.delta", **place, "delta": "he", "logprobs": []},
        {"type": "response.output_text.delta", **place, "delta": "llo", "logprobs": []},
        {"type": "response.output_text.done", **place, "text": "hello", "logprobs": []},
        {"type": "response.content_part.done", **place, "part": {**part, "text": "hello"}},
        {"type": "response.output_item.done", "output_index": 0, "item": done},
    ]
    assert response["output"] == [done]
    assert (response["status"], response["incomplete_details"], response["error"]) == (
        "completed",
        None,
        None,
    )


def test_a_whole_completion_makes_the_same_response_as_its_stream():
    calls = [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}]
    _, streamed = told(
        delta(content="Let me "),
        delta(content="see."),
        piece(0, id="c1", function={"name": "f", "arguments": ""}),
        piece(0, '{"a"'),
        piece(0, ": 1}"),
        delta("tool_calls"),
        {"choices": [], "usage": USAGE},
    )
    message = {"role": "assistant", "content": "Let me see.", "tool_calls": calls}
    _, whole = told(
        {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}], "usage": USAGE}
    )
    for response in (streamed, whole):
        assert [item["id"].partition("_")[0] for item in response["output"]] == ["msg", "fc"]
        for item in response["output"]:
            del item["id"]
        del response["completed_at"], response["created_at"]
    assert streamed == whole
    call = {"type": "function_call", "status": "completed", "call_id": "c1", "name": "f"}
    assert whole["output"][1] == {**call, "arguments": '{"a": 1}'}
    assert whole["usage"] == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 2},
        "output_tokens": 4,
        "output_tokens_details": {"reasoning_tokens": 1},
        "total_tokens": 14,
    }


def test_a_function_call_is_told_when_it_is_whole():
    events, _ = told(
        piece(0, id="c1", function={"name": "f", "arguments": ""}),
        piece(0, '{"a": 1}'),
        piece(1, id="c2", function={"name": "g", "arguments": ""}),
        piece(1, "{}"),
        delta("tool_calls"),
    )
    assert (
        kinds(events)
        == [
            "output_item.added",
            "function_call_arguments.delta",
            "function_call_arguments.done",
            "output_item.done",
        ]
        * 2
    )
    assert events[2]["arguments"] == '{"a": 1}'
    assert events[2]["name"] == "f"
    assert [event["output_index"] for event in events] == [0] * 4 + [1] * 4


def test_arguments_that_are_told_in_turn_stay_apart():
    _, response = told(
        piece(0, '{"a"', id="c1"),
        piece(1, '{"b"', id="c2"),
        piece(0, ": 1}"),
        piece(1, ": 2}"),
        delta("tool_calls"),
    )
    assert [(item["call_id"], item["arguments"]) for item in response["output"]] == [
        ("c1", '{"a": 1}'),
        ("c2", '{"b": 2}'),
    ]


def test_white_space_after_whole_arguments_begins_no_other_call():
    _, response = told(piece(0, "{}", id="c1"), piece(1, "{}", id="c2"), piece(0, "\n"), delta("tool_calls"))
    assert [(item["call_id"], item["arguments"]) for item in response["output"]] == [
        ("c1", "{}"),
        ("c2", "{}"),
    ]


def test_a_function_without_arguments_is_called_with_an_object():
    events, response = told(piece(0, id="c1", function={"name": "f", "arguments": ""}), delta("stop"))
    assert response["output"][0]["arguments"] == "{}"
    assert "".join(event["delta"] for event in events if event["type"].endswith(".delta")) == "{}"


def test_a_refusal_is_a_part_of_the_message():
    events, response = told(delta(content="Well. "), delta(refusal="I will not."), delta("stop"))
    assert kinds(events)[3:6] == ["output_text.done", "content_part.done", "content_part.added"]
    assert kinds(events)[6:8] == ["refusal.delta", "refusal.done"]
    (item,) = response["output"]
    assert [part["type"] for part in item["content"]] == ["output_text", "refusal"]
    assert item["content"][1] == {"type": "refusal", "refusal": "I will not."}


def test_reasoning_is_shown_to_those_who_asked_for_it():
    chunks = (delta(reasoning_content="Hm."), delta(content="Yes."), delta("stop"))
    _, silent = told(*chunks)
    events, response = told(*chunks, reasoning={"summary": "auto"})
    assert [item["type"] for item in silent["output"]] == ["message"]
    assert [item["type"] for item in response["output"]] == ["reasoning", "message"]
    assert response["output"][0]["summary"] == [{"type": "summary_text", "text": "Hm."}]
    assert kinds(events)[:6] == [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
    ]
    assert events[2]["summary_index"] == 0


def test_log_probabilities_are_passed_on():
    logprob = {"token": "hi", "logprob": -0.5, "bytes": [104, 105], "top_logprobs": []}
    chunk = delta(content="hi")
    chunk["choices"][0]["logprobs"] = {"content": [logprob]}
    events, response = told(chunk, delta("stop"))
    assert events[2]["logprobs"] == [logprob]
    assert response["output"][0]["content"][0]["logprobs"] == [logprob]


@pytest.mark.parametrize(
    ("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")]
)
def test_an_answer_that_was_cut_is_incomplete_and_so_is_its_last_item(finish, reason):
    _, response = told(delta(content="half"), piece(0, '{"a', id="c1"), delta(finish))
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": reason})
    assert [item["status"] for item in response["output"]] == ["completed", "incomplete"]
    assert list(last_events(response)) == [{"type": "response.incomplete", "response": response}]


def test_tokens_that_nobody_counted_are_estimated():
    _, response = told(delta(content="12345678"), delta("stop"))
    assert response["usage"]["output_tokens"] == 2
    assert response["usage"]["input_tokens"] > 0


def test_a_failure_keeps_what_was_said_and_tells_the_error_before_the_end():
    events = maker()
    list(events.chunk(delta(content="half")))
    error = ProviderRefused(502, "It broke.", provider_code="gone", kind="server_error")
    events.fail(error)
    response = events.response
    assert (response["status"], response["error"]) == ("failed", {"code": "gone", "message": "It broke."})
    assert response["output"][0]["status"] == "incomplete"
    first, last = last_events(response, error)
    assert (first["type"], first["code"], first["error"]["message"]) == ("error", "gone", "It broke.")
    assert last == {"type": "response.failed", "response": response}


def test_events_are_numbered_and_named():
    (created, begun) = opening_events(maker().response)
    assert written(created, 0).startswith(b'event: response.created\ndata: {"type":"response.created",')
    assert orjson.loads(written(begun, 1).split(b"data: ")[1])["sequence_number"] == 1
    queued = {**maker().response, "status": "queued"}
    assert kinds(opening_events(queued)) == ["created", "queued"]


def test_a_batch_gives_the_events_behind_a_number():
    batch = batch_of(5, [{"type": "a", "text": "x\ny"}, {"type": "b"}])
    assert (batch.first, batch.last) == (5, 6)
    assert batch.after(4) == [
        (5, b'{"type":"a","text":"x\\ny","sequence_number":5}'),
        (6, b'{"type":"b","sequence_number":6}'),
    ]
    assert [number for number, _ in batch.after(5)] == [6]
    assert batch.after(6) == []


class FakeRows:
    """Takes the batches of a log."""

    def __init__(self):
        self.batches = []
        self.end = None

    async def progress(self, stored, now, batch):
        self.batches.append(batch)
        return True

    async def finish(self, stored, now, status, response, batch=None):
        self.batches.append(batch)
        self.end = status
        return True


async def test_a_log_joins_deltas_of_one_text_and_loses_none_when_it_is_closed():
    rows = FakeRows()
    log = EventLog(rows, None, next_number=2)
    writing = asyncio.create_task(log.write())
    events, _ = told(*(delta(content=letter) for letter in "abcd"), piece(0, "{}", id="c1"), delta("stop"))
    log.add(events[:4])
    changed = log.changed
    await changed.wait()
    log.add(events[4:7])
    log.close()
    await writing
    log.add(events[7:])
    await log.end({"status": "completed"}, [{"type": "response.completed"}])
    found = [orjson.loads(event) for batch in rows.batches for _, event in batch.after(-1)]
    assert [event["sequence_number"] for event in found] == list(range(2, 2 + len(found)))
    deltas = [event["delta"] for event in found if event["type"] == "response.output_text.delta"]
    assert deltas[0] == "ab"
    assert "".join(deltas) == "abcd"
    assert kinds(found)[-4:] == [
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    assert rows.end == "completed"


class AwayRows(FakeRows):
    """Is away at first, and has written one batch whose outcome was not known."""

    def __init__(self):
        super().__init__()
        self.script = [StorageUnavailable("away"), StorageUnavailable("away"), DuplicateKey("events")]

    async def progress(self, stored, now, batch):
        if self.script:
            raise self.script.pop(0)
        return await super().progress(stored, now, batch)

    async def finish(self, stored, now, status, response, batch=None):
        if not self.batches:
            self.batches.append(None)
            raise StorageUnavailable("away")
        return await super().finish(stored, now, status, response, batch)


async def test_a_log_waits_for_the_database_and_writes_nothing_twice():
    rows = AwayRows()
    log = EventLog(rows, None, next_number=2)
    writing = asyncio.create_task(log.write())
    log.add([{"type": "response.in_progress"}])
    changed = log.changed
    async with asyncio.timeout(10):
        await changed.wait()
    assert rows.script == rows.batches == []
    log.close()
    await writing
    await log.end({"status": "completed"}, [{"type": "response.completed"}])
    (last,) = rows.batches[1:]
    assert (last.first, last.last, rows.end) == (3, 3, "completed")


class Pieces:
    """A chat stream that comes in the given pieces."""

    def __init__(self, *pieces):
        self._pieces = pieces

    async def _come(self):
        for each in self._pieces:
            yield each

    def __aiter__(self):
        return self._come()


async def test_chunks_are_read_from_bytes_however_they_come():
    stream = b'data: {"a": 1}\n\n: comment\n\ndata: {"a": 2}\n\ndata: [DONE]\n\n'
    pieces = Pieces(*(stream[place : place + 7] for place in range(0, len(stream), 7)), b"late")
    assert [chunk async for chunks in chat_chunks(pieces) for chunk in chunks] == [{"a": 1}, {"a": 2}]


async def test_what_came_before_an_error_is_given_first():
    pieces = Pieces(b'data: {"a": 1}\n\ndata: {"error": {"message": "no", "code": "x"}}\n\n')
    chunks = chat_chunks(pieces)
    assert await anext(chunks) == [{"a": 1}]
    with pytest.raises(ProviderRefused) as refused:
        await anext(chunks)
    assert (refused.value.provider_code, refused.value.detail) == ("x", "no")


async def test_a_stream_that_just_ends_is_broken():
    chunks = chat_chunks(Pieces(b'data: {"a": 1}\n\n'))
    await anext(chunks)
    with pytest.raises(ProviderBroke):
        await anext(chunks)


class BrokenChat:
    """A streamed chat answer with a chunk that nobody expects."""

    headers = {"signalbox-llm-call-id": "llm_1"}

    async def __aiter__(self):
        yield b'data: {"choices": [5]}\n\n'

    async def aclose(self):
        pass


async def test_a_bug_ends_a_stream_as_a_failed_response(caplog):
    class Kept:
        async def keep(self, principal, request, response):
            return response

    request = ResponsesRequest.parse(b'{"model":"m","input":"hi","store":false}')
    prompt = request.chat(request.items, stream=True).fields
    stream = ResponseStream(BrokenChat(), request, prompt, None, Kept())
    found = b"".join([each async for each in stream])
    last = orjson.loads(found.rsplit(b"data: ", 1)[1])
    assert (last["type"], last["response"]["status"]) == ("response.failed", "failed")
    assert "unhandled error" in caplog.text
