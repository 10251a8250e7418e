from types import SimpleNamespace

import orjson
import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from signalbox.llm_gateway.caching.assembly import Assembly
from signalbox.llm_gateway.caching.capture import for_listener
from signalbox.llm_gateway.caching.keys import answer_key, canonical_form
from signalbox.llm_gateway.caching.replay import replayed_events
from signalbox.llm_gateway.caching.vectors import Vector, nearest
from signalbox.llm_gateway.caching.wishes import NO_WISHES, CacheWishes
from signalbox.llm_gateway.messages.body import MessagesBody
from signalbox.llm_gateway.protocol import RequestBody

LOGPROB = {"token": "a", "logprob": -0.1, "bytes": [97], "top_logprobs": []}
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
HEAD = {"id": "c1", "created": 7, "model": "m", "system_fingerprint": "fp", "object": "chat.completion.chunk"}


def chunk(delta, index=0, finish=None, **more):
    choice = {"index": index, "delta": delta, "finish_reason": finish, **more}
    return b"data: " + orjson.dumps({**HEAD, "choices": [choice]}) + b"\n\n"


def usage_chunk(**more):
    return b"data: " + orjson.dumps({**HEAD, "choices": [], "usage": USAGE, **more}) + b"\n\n"


def called(index, arguments, name=None, **members):
    function = {"arguments": arguments} if name is None else {"name": name, "arguments": arguments}
    return chunk({"tool_calls": [{"index": index, **members, "function": function}]})


DONE = b"data: [DONE]\n\n"
TALK = [
    chunk({"role": "assistant", "content": None, "refusal": None}),
    chunk({"reasoning_content": "so "}),
    chunk({"reasoning_content": "then"}),
    chunk({"content": "a"}, logprobs={"content": [LOGPROB], "refusal": None}),
    b": keep-alive\n\n",
    chunk({"content": " b"}, logprobs={"content": [LOGPROB], "refusal": None}),
    chunk({"role": "assistant", "content": "另一个"}, index=1),
    called(0, '{"a"', id="x", type="function", name="f"),
    called(0, ": 1}"),
    called(1, "", id="y", type="function", name="g"),
    called(1, "{}"),
    chunk({}, finish="tool_calls"),
    chunk({}, index=1, finish="stop"),
    usage_chunk(signalbox_cost="1 USD"),
    DONE,
]


def assembled(*pieces):
    assembly = Assembly()
    for piece in pieces:
        assembly.feed(piece)
    return assembly.completion()


def by_the_sdk(events):
    state = ChatCompletionStreamState()
    for event in events:
        for line in event.decode().splitlines():
            if line.startswith("data: ") and line != "data: [DONE]":
                state.handle_chunk(ChatCompletionChunk.model_validate_json(line[6:]))
    found = state.get_final_completion().model_dump(exclude_none=True)
    for choice in found["choices"]:
        for call in choice["message"].get("tool_calls") or ():
            call.pop("index", None)
            call["function"].pop("parsed_arguments", None)
        choice["message"].pop("parsed", None)
    return found


def test_a_stream_adds_up_to_what_its_client_made_of_it():
    completion = assembled(*TALK)
    first, second = completion["choices"]
    assert first["message"] == {
        "role": "assistant",
        "content": "a b",
        "refusal": None,
        "reasoning_content": "so then",
        "tool_calls": [
            {"id": "x", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
            {"id": "y", "type": "function", "function": {"name": "g", "arguments": "{}"}},
        ],
    }
    assert first["logprobs"] == {"content": [LOGPROB, LOGPROB], "refusal": None}
    assert second["message"]["content"] == "另一个"
    assert (first["finish_reason"], second["finish_reason"]) == ("tool_calls", "stop")
    assert completion["usage"] == USAGE
    assert completion["object"] == "chat.completion"
    assert "signalbox_cost" not in completion


def test_calls_that_come_in_another_order_and_repeat_who_they_are_are_the_same_calls():
    events = [
        chunk({"role": "assistant"}),
        called(1, "", id="y", type="function", name="g"),
        called(0, "{", id="x", type="function", name="f"),
        called(1, "{}", id="y", type="function", name="g"),
        called(0, "}", id="x", type="function", name="f"),
        chunk({}, finish="tool_calls"),
        DONE,
    ]
    calls = assembled(*events)["choices"][0]["message"]["tool_calls"]
    assert [(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in calls] == [
        ("x", "f", "{}"),
        ("y", "g", "{}"),
    ]


def test_pieces_that_are_cut_anywhere_add_up_to_the_same():
    whole = b"".join(TALK)
    assert assembled(*(whole[place : place + 1] for place in range(len(whole)))) == assembled(*TALK)


def test_a_replay_is_for_the_sdk_what_the_original_was():
    completion = assembled(*TALK)
    events = list(replayed_events(completion, with_usage=True, cost=None))
    assert events[-1] == DONE
    assert by_the_sdk(events) == by_the_sdk([event for event in TALK if not event.startswith(b":")]) | {
        "usage": USAGE
    }
    assert assembled(*events) == completion


def test_the_usage_of_a_replay_goes_to_who_asked_for_it_and_its_cost_to_services():
    completion = assembled(*TALK)
    asked = b"".join(replayed_events(completion, with_usage=True, cost="0 USD"))
    assert asked.count(b'"usage":{') == 1
    assert b'"signalbox_cost":"0 USD"' in asked
    assert b'"usage"' not in b"".join(replayed_events(completion, with_usage=False, cost="0 USD"))


@pytest.mark.parametrize(
    "pieces",
    [
        TALK[:-1],
        [DONE],
        [TALK[0], b'data: {"error":{"message":"no"}}\n\n', DONE],
        [TALK[0], b"data: {broken\n\n", DONE],
        [chunk({"content": "a"}), chunk({"content": ["b"]}), DONE],
        [chunk({"content": "a"}), b"data: [1]\n\n", DONE],
    ],
)
def test_what_is_not_whole_or_not_understood_adds_up_to_nothing(pieces):
    assert assembled(*pieces) is None


def test_a_listener_gets_its_own_cost_and_the_usage_if_it_asked():
    piece = chunk({"content": "a"}) + usage_chunk(signalbox_cost="1 USD") + DONE
    assert for_listener(piece, wants_usage=True) == piece
    assert for_listener(piece, wants_usage=False) == chunk({"content": "a"}) + DONE
    other = for_listener(piece, wants_usage=True, cost="0 USD", own=False)
    assert b'"signalbox_cost":"0 USD"' in other
    assert b"1 USD" not in other
    assert b"signalbox_cost" not in for_listener(piece, wants_usage=True, own=False)


def test_a_canonical_form_knows_no_order_keeps_every_digit_and_has_one_meaning():
    one = canonical_form(b'{"model":"m","b":{"y":1,"x":[1.50,"\\u00e9"]},"a":null}')
    assert one == canonical_form('{ "a":null, "b":{"x":[1.5,"é"],"y":1},"model":"m"}'.encode())
    assert canonical_form(b'{"seed":9007199254740993}') != canonical_form(b'{"seed":9007199254740992}')
    assert canonical_form(b'{"a":1}') != canonical_form(b'{"a":true}')
    assert canonical_form(b'{"a":[1,2]}') != canonical_form(b'{"a":[2,1]}')
    assert canonical_form(b'{"a":1,"stream":true,"user":"u"}') == canonical_form(b'{"a":1}')
    assert canonical_form(b'{"a":1,"b":{"stream":true}}') != canonical_form(b'{"a":1,"b":{}}')
    assert canonical_form(b'{"a":{"b":1,"b":2}}') is None
    assert canonical_form(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}") is None


def asked(
    raw=b'{"model":"m","messages":[]}', tenant="acme", cap=None, deployments=("a", "b"), kind=RequestBody
):
    """As much of a call as its key is made of."""
    return SimpleNamespace(
        body=kind(raw, {}, "m"),
        operation="chat/completions",
        output_cap=cap,
        plan=SimpleNamespace(deployments=[SimpleNamespace(name=name) for name in deployments]),
        caller=SimpleNamespace(principal=SimpleNamespace(tenant=tenant)),
    )


def test_a_key_is_of_the_tenant_the_protocol_the_deployments_and_the_callers_cap():
    key = answer_key(asked())
    assert key == answer_key(asked(deployments=("b", "a")))
    others = [
        asked(tenant="rival"),
        asked(cap=5),
        asked(cap=6),
        asked(deployments=("a",)),
        asked(kind=MessagesBody),
    ]
    assert len({key, *map(answer_key, others)}) == 6
    assert key.startswith("llm-answer:acme:m:")


@pytest.mark.parametrize(
    ("control", "wishes"),
    [
        (None, NO_WISHES),
        ("", NO_WISHES),
        ("private", NO_WISHES),
        ("no-store", CacheWishes(read=False, write=False)),
        ("No-Cache", CacheWishes(read=False)),
        ("max-age=60", CacheWishes(max_age_s=60)),
        ("max-age=0", CacheWishes(read=False, max_age_s=0)),
        ('no-cache, max-age="5"', CacheWishes(read=False, max_age_s=5)),
        ("max-age=soon", NO_WISHES),
        ("max-age=-1", NO_WISHES),
        ("max-age=" + "9" * 5000, NO_WISHES),
    ],
)
def test_a_callers_wishes(control, wishes):
    assert CacheWishes.from_headers({} if control is None else {"cache-control": control}) == wishes


def test_the_nearest_vector_is_found_among_many():
    many = [
        (Vector.of([float((place * step) % 7 - 3) for place in range(1, 200)]), str(step))
        for step in range(1, 300)
    ]
    for wanted in (0, 17, 298):
        vector, _ = many[wanted]
        near = Vector.of([number + 0.01 * (place % 3) for place, number in enumerate(vector.numbers)])
        cosine, found = nearest(near, many)
        assert many[int(found) - 1][0].cosine(near) == cosine
        assert cosine > 0.97
    assert nearest(many[0][0], []) is None


def test_a_vector_is_written_and_read_and_has_a_direction():
    vector = Vector.of([3.0, -4.0, 0.0])
    read = Vector.read(vector.written())
    assert (list(read.numbers), read.signs) == (list(vector.numbers), 0b001)
    assert read.cosine(vector) == pytest.approx(1)
    assert vector.cosine(Vector.of([1.0, 1.0])) == 0.0
    for numbers in ([], [0.0, 0.0], [float("nan")], [float("inf"), 1.0]):
        assert Vector.of(numbers) is None
