import orjson
import pytest

from signalbox.common.errors import DeadlineExceeded, Forbidden, PayloadTooLarge, RateLimited, Unavailable
from signalbox.llm_gateway.answers import WholeAnswer
from signalbox.llm_gateway.errors import AnswerInvalid, ProviderBroke, ProviderRefused
from signalbox.llm_gateway.messages.answer import whole_message
from signalbox.llm_gateway.messages.error_shape import anthropic_error, streamed_error
from signalbox.llm_gateway.messages.request import MessagesRequest
from signalbox.llm_gateway.messages.stream import MessageEvents, MessageStream
from signalbox.llm_gateway.protocol import DONE, event
from signalbox.llm_gateway.translation.estimates import estimated_input

HEADERS = {"signalbox-llm-call-id": "llm_0192"}
CALL = {"id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"n": 1}'}}


def request(**members):
    body = {"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}], **members}
    return MessagesRequest.parse(orjson.dumps(body))


THINKS = {"thinking": {"type": "enabled", "budget_tokens": 2000}}


def message(said, finish="stop", usage=None, asked=None, **choice):
    completion = {
        "model": "m",
        "choices": [{"index": 0, "message": said, "finish_reason": finish, **choice}],
        "usage": usage,
    }
    answer = whole_message(WholeAnswer(orjson.dumps(completion), HEADERS), asked or request())
    assert answer.headers == HEADERS
    return orjson.loads(answer.body)


def test_a_completion_is_a_message():
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "prompt_tokens_details": {"cached_tokens": 60, "cache_creation_tokens": 10},
        "completion_tokens_details": {"reasoning_tokens": 5},
    }
    assert message({"role": "assistant", "content": "hello"}, usage=usage) == {
        "id": "msg_0192",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": "hello"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 30,
            "cache_creation_input_tokens": 10,
            "cache_read_input_tokens": 60,
            "output_tokens": 20,
            "output_tokens_details": {"thinking_tokens": 5},
        },
    }


@pytest.mark.parametrize(
    ("said", "finish", "choice", "reason", "sequence"),
    [
        ({"content": "x"}, "stop", {}, "end_turn", None),
        ({"content": "x"}, "length", {}, "max_tokens", None),
        ({"content": "x"}, "content_filter", {}, "refusal", None),
        ({"content": None, "refusal": "no"}, "stop", {}, "refusal", None),
        ({"content": None, "tool_calls": [CALL]}, "tool_calls", {}, "tool_use", None),
        ({"content": None, "tool_calls": [CALL]}, "stop", {}, "tool_use", None),
        ({"content": "x"}, "stop", {"stop_reason": "END"}, "stop_sequence", "END"),
        ({"content": "x"}, "stop", {"stop_reason": "OTHER"}, "end_turn", None),
        ({"content": "x"}, "stop", {"stop_reason": 128009}, "end_turn", None),
    ],
)
def test_the_reason_to_stop_is_translated(said, finish, choice, reason, sequence):
    found = message(said, finish, asked=request(stop_sequences=["END"]), **choice)
    assert (found["stop_reason"], found["stop_sequence"]) == (reason, sequence)


def test_calls_of_tools_are_blocks_after_the_text():
    nothing = {"id": "t2", "type": "function", "function": {"name": "g", "arguments": ""}}
    found = message({"content": "Let me see.", "tool_calls": [CALL, nothing]}, "tool_calls")
    assert found["content"] == [
        {"type": "text", "text": "Let me see."},
        {"type": "tool_use", "id": "t1", "name": "f", "input": {"n": 1}},
        {"type": "tool_use", "id": "t2", "name": "g", "input": {}},
    ]


def test_arguments_that_are_no_object_are_an_error_unless_the_cap_cut_them():
    cut = {"id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"n": '}}
    with pytest.raises(AnswerInvalid):
        message({"content": None, "tool_calls": [cut]}, "tool_calls")
    found = message({"content": None, "tool_calls": [cut]}, "length")
    assert (found["content"][0]["input"], found["stop_reason"]) == ({}, "max_tokens")


def test_thoughts_are_shown_when_asked_for():
    plain = {"content": "x", "reasoning_content": "hm"}
    signed = {"type": "thinking", "thinking": "hm", "signature": "sig"}
    assert [block["type"] for block in message(plain)["content"]] == ["text"]
    assert message(plain, asked=request(**THINKS))["content"][0] == {**signed, "signature": ""}
    kept = message({**plain, "thinking_blocks": [signed]}, asked=request(**THINKS))
    assert kept["content"][0] == signed


def test_tokens_that_nobody_reported_are_estimated():
    usage = message({"content": "x" * 400})["usage"]
    assert usage["input_tokens"] == estimated_input(request().chat.fields) > 0
    assert usage["output_tokens"] > 100


def test_an_image_counts_what_one_may_cost_and_not_its_bytes():
    source = {"type": "base64", "media_type": "image/png", "data": "A" * 400_000}
    content = [{"type": "image", "source": source}]
    found = estimated_input(request(messages=[{"role": "user", "content": content}]).chat.fields)
    assert 1600 < found < 1700


def test_an_answer_without_a_message_is_the_providers_fault():
    with pytest.raises(ProviderBroke):
        whole_message(WholeAnswer(b'{"choices": []}', HEADERS), request())


def delta(finish=None, usage=None, **members):
    return {
        "model": "m",
        "choices": [{"index": 0, "delta": members, "finish_reason": finish}],
        "usage": usage,
    }


def tool_delta(index, piece, name=None):
    call = {"index": index, "function": {"arguments": piece}}
    if name:
        call |= {"id": f"t{index}", "type": "function", "function": {"name": name, "arguments": piece}}
    return delta(tool_calls=[call])


def events(*chunks, asked=None):
    made = MessageEvents("msg_1", asked or request())
    return [*(item for chunk in chunks for item in made.chunk(chunk)), *made.end()]


def blocks(found):
    """The blocks that a client puts together of events; each must be whole before the next begins."""
    made = []
    opened = None
    for item in found:
        if item["type"] == "content_block_start":
            assert opened is None
            assert item["index"] == len(made)
            opened = {**item["content_block"], "json": ""}
            made.append(opened)
        elif item["type"] == "content_block_delta":
            assert item["index"] == len(made) - 1
            change = dict(item["delta"])
            change.pop("type")
            (name, piece), *_ = change.items()
            name = "json" if name == "partial_json" else name
            opened[name] += piece
        elif item["type"] == "content_block_stop":
            assert item["index"] == len(made) - 1
            opened = None
    assert opened is None
    return made


def test_a_stream_of_text_is_these_events():
    usage = {"prompt_tokens": 7, "completion_tokens": 2}
    found = events(
        delta(role="assistant", content=""),
        delta(content="he"),
        delta(content="llo"),
        delta("stop"),
        {"model": "m", "choices": [], "usage": usage},
    )
    start, ping, *rest = found
    assert start["message"]["id"] == "msg_1"
    assert start["message"]["content"] == []
    assert start["message"]["stop_reason"] is None
    assert ping == {"type": "ping"}
    assert rest == [
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "he"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "llo"}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {
                "input_tokens": 7,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "output_tokens": 2,
            },
        },
        {"type": "message_stop"},
    ]


def test_arguments_of_tools_come_as_partial_json():
    found = events(
        delta(content="see"),
        tool_delta(0, "", "f"),
        tool_delta(0, '{"n"'),
        tool_delta(0, ": 1}"),
        tool_delta(1, '{"m": 2}', "g"),
        delta("tool_calls"),
    )
    assert [block["type"] for block in blocks(found)] == ["text", "tool_use", "tool_use"]
    assert [(block["id"], block["name"], block["json"]) for block in blocks(found)[1:]] == [
        ("t0", "f", '{"n": 1}'),
        ("t1", "g", '{"m": 2}'),
    ]
    assert found[-2]["delta"]["stop_reason"] == "tool_use"


def test_calls_whose_pieces_alternate_are_put_in_order():
    found = events(
        tool_delta(0, '{"n"', "f"),
        tool_delta(1, '{"m"', "g"),
        delta(content="said between"),
        tool_delta(0, ": 1}"),
        tool_delta(1, ": 2}"),
        delta("tool_calls"),
    )
    assert [block.get("text") or block["json"] for block in blocks(found)] == [
        '{"n": 1}',
        '{"m": 2}',
        "said between",
    ]


def test_a_tool_without_arguments_does_not_hold_up_the_end():
    found = events(tool_delta(0, "", "f"), tool_delta(1, '{"m": 2}', "g"), delta("tool_calls"))
    assert [block["json"] for block in blocks(found)] == ["", '{"m": 2}']


def test_whole_calls_without_an_index_are_told_apart_by_their_ids():
    calls = [{"id": f"c{n}", "function": {"name": "f", "arguments": f'{{"n": {n}}}'}} for n in (1, 2)]
    found = events(*(delta(tool_calls=[call]) for call in calls), delta("tool_calls"))
    assert [(block["id"], block["json"]) for block in blocks(found)] == [
        ("c1", '{"n": 1}'),
        ("c2", '{"n": 2}'),
    ]


def test_only_the_first_of_several_answers_is_a_message():
    second = {
        "model": "m",
        "choices": [{"index": 1, "delta": {"content": "other"}, "finish_reason": "length"}],
    }
    found = events(delta(content="x"), second, delta("stop"), second)
    assert [block["text"] for block in blocks(found)] == ["x"]
    assert found[-2]["delta"]["stop_reason"] == "end_turn"


def test_thoughts_come_before_the_text_and_end_with_their_signature():
    chunks = (
        delta(reasoning_content="h"),
        delta(reasoning_content="m", thinking_blocks=[{"type": "thinking", "signature": "sig"}]),
        delta(content="x"),
        delta("stop"),
    )
    thought, said = blocks(events(*chunks, asked=request(**THINKS)))
    assert (thought["thinking"], thought["signature"], said["text"]) == ("hm", "sig", "x")
    assert [block["type"] for block in blocks(events(*chunks))] == ["text"]


def test_thoughts_that_are_kept_secret_are_blocks_of_their_own():
    secret = {"type": "redacted_thinking", "data": "abc"}
    chunks = (delta(thinking_blocks=[secret]), delta(content="x"), delta("stop"))
    thought, said = blocks(events(*chunks, asked=request(**THINKS)))
    assert (thought["type"], thought["data"], said["text"]) == ("redacted_thinking", "abc", "x")


class Chat:
    """A streamed chat answer that gives these pieces."""

    headers = HEADERS

    def __init__(self, *pieces):
        self._pieces = pieces
        self.closed = 0
        self.read_to_its_end = False

    async def __aiter__(self):
        for piece in self._pieces:
            yield piece
        self.read_to_its_end = True

    async def aclose(self):
        self.closed += 1


async def written(*pieces):
    chat = Chat(*pieces)
    stream = MessageStream(chat, request(), "req_1")
    found = b"".join([piece async for piece in stream])
    await stream.aclose()
    assert chat.closed == 1
    assert chat.read_to_its_end
    kinds = [line.removeprefix("event: ") for line in found.decode().splitlines() if line.startswith("event")]
    return found, kinds


async def test_bytes_cut_anywhere_give_the_same_events():
    whole = event(delta(content="hello")) + b": still there\n\n" + event(delta("stop")) + DONE
    at_once, kinds = await written(whole)
    assert kinds == [
        "message_start",
        "ping",
        "content_block_start",
        "content_block_delta",
        "ping",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    by_byte, _ = await written(*(whole[at : at + 1] for at in range(len(whole))))
    assert by_byte == at_once


async def test_an_error_ends_a_stream_as_anthropics_error():
    error = {"message": "slow", "type": "server_error", "param": None, "code": "provider_timeout"}
    found, kinds = await written(event(delta(content="hel")), event({"error": error}))
    assert kinds[-1] == "error"
    assert orjson.loads(found.rsplit(b"data: ", 1)[1]) == {
        "type": "error",
        "error": {
            "type": "timeout_error",
            "message": "slow",
            "code": "provider_timeout",
            "details": {"error_code": "provider_timeout"},
        },
        "request_id": "req_1",
    }


async def test_a_bug_ends_a_stream_as_an_error_after_what_came_before_it(caplog):
    found, kinds = await written(event(delta(content="hel")) + event({"choices": [5]}) + DONE)
    assert kinds[-2:] == ["content_block_delta", "error"]
    assert orjson.loads(found.rsplit(b"data: ", 1)[1])["error"]["type"] == "api_error"
    assert "unhandled error" in caplog.text


async def test_an_end_without_an_end_is_an_error():
    found, kinds = await written(event(delta(content="hel")), event(delta("stop")))
    assert kinds[-1] == "error"
    assert b"provider_broke_off" in found


async def test_closing_closes_the_chat_though_nothing_was_read():
    chat = Chat(event(delta(content="hel")))
    await MessageStream(chat, request(), None).aclose()
    assert chat.closed == 1


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (Forbidden("x"), 403, "permission_error"),
        (PayloadTooLarge("x"), 413, "request_too_large"),
        (RateLimited("x"), 429, "rate_limit_error"),
        (Unavailable("x"), 529, "overloaded_error"),
        (DeadlineExceeded("x"), 504, "timeout_error"),
        (ProviderBroke("x"), 502, "api_error"),
        (ProviderRefused(402, "x"), 402, "billing_error"),
        (ProviderRefused(409, "x"), 409, "invalid_request_error"),
        (ProviderRefused(529, "x"), 529, "overloaded_error"),
    ],
)
def test_errors_have_anthropics_types(error, status, kind):
    found, body = anthropic_error(error, "req_1")
    said = orjson.loads(body)
    assert (found, said["type"], said["error"]["type"]) == (status, "error", kind)
    assert said["error"]["code"] == said["error"]["details"]["error_code"] == error.code
    assert said["request_id"] == "req_1"


@pytest.mark.parametrize(
    ("kind", "code", "made"),
    [
        ("rate_limit_error", "x", "rate_limit_error"),
        ("requests", "rate_limit_exceeded", "rate_limit_error"),
        ("requests", None, "api_error"),
        ("server_error", "deadline_exceeded", "timeout_error"),
        ("server_error", "provider_unreachable", "overloaded_error"),
        ("server_error", "provider_broke_off", "api_error"),
    ],
)
def test_errors_in_a_stream_have_anthropics_types(kind, code, made):
    assert streamed_error({"type": kind, "code": code, "message": "x"}, None)["error"]["type"] == made
