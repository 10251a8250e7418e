import json

import orjson
import pytest

from signalbox.common.errors import Unauthenticated, ValidationFailed
from signalbox.contracts.problem import ProblemError
from signalbox.llm_gateway.errors import MalformedCall, UpstreamCredentialRefused
from signalbox.llm_gateway.protocol import (
    EventBlocks,
    RequestBody,
    Tokens,
    append_member,
    data_of,
    error_body,
    provider_error,
    refusal_in,
    replace_members,
    replace_text,
)

ODD = (
    b'{ "messages" : [{"content":"\\"model\\": {[ \\u4f60"}] ,"seed":1.50, "model" : "a" ,'
    b'"x":{"model":"b"},"model":"c"}'
)


def test_only_top_level_members_of_that_name_are_replaced():
    edited = replace_members(ODD, {"model": b'"new"', "absent": b"1"})
    assert edited == ODD.replace(b'"model" : "a"', b'"model" : "new"').replace(
        b'"model":"c"', b'"model":"new"'
    )


def test_any_kind_of_value_is_replaced_whole():
    for value in (b"null", b"[1,[2]]", b'{"a":{"b":"}"}}', b'"te\\"xt"', b"-1.5e3"):
        assert replace_members(b'{"o":%b ,"z":1}' % value, {"o": b"0"}) == b'{"o":0 ,"z":1}'


def test_a_member_is_appended_before_the_closing_brace():
    assert append_member(b'{"a":1 }\n', "b", b"[2]") == b'{"a":1,"b":[2]}'


def test_a_request_goes_on_byte_for_byte_when_nothing_has_to_change():
    body = RequestBody.parse(b'{"model":"m","messages":[],"unknown":1.10}')
    assert body.for_upstream("m", ask_usage=True) is body.raw


def test_usage_is_asked_for_in_streams_only_where_the_caller_has_not():
    plain = RequestBody.parse(b'{"model":"m","messages":[],"stream":true}')
    assert plain.for_upstream("m", ask_usage=True) == (
        b'{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":true}}'
    )
    asked = RequestBody.parse(b'{"model":"m","stream":true,"stream_options":{"include_usage":true}}')
    assert asked.for_upstream("m", ask_usage=True) is asked.raw
    refused = RequestBody.parse(b'{"model":"m","stream":true,"stream_options":{"include_usage":false,"o":1}}')
    assert orjson.loads(refused.for_upstream("n", ask_usage=True)) == {
        "model": "n",
        "stream": True,
        "stream_options": {"include_usage": True, "o": 1},
    }


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"model":1}',
        b'{"model":""}',
        b'{"model":"a\\u0000b"}',
        b'{"model":"\\ud800"}',
    ],
)
def test_a_body_without_a_usable_model_is_refused(raw):
    with pytest.raises(MalformedCall):
        RequestBody.parse(raw)


@pytest.mark.parametrize(
    "fields", [b'"messages":"hi"', b'"messages":[1]', b'"messages":[],"stream":"yes"', b'"n":1']
)
def test_a_chat_needs_messages(fields):
    with pytest.raises(MalformedCall):
        RequestBody.parse(b'{"model":"m",%b}' % fields).check_chat()


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "n"])
@pytest.mark.parametrize("value", ["5", 5.0, True, 0, -1, 2**62, 2**63, 2**64, [5]])
def test_a_count_of_a_chat_that_was_not_understood_is_refused_with_its_place(name, value):
    raw = orjson.dumps({"model": "m", "messages": [], name: 1})
    body = RequestBody.parse(
        raw.replace(b'"%b":1' % name.encode(), b'"%b":%b' % (name.encode(), json.dumps(value).encode()))
    )
    with pytest.raises(MalformedCall) as refused:
        body.check_chat()
    assert [error.pointer for error in refused.value.errors] == [f"/{name}"]


@pytest.mark.parametrize(
    ("name", "most"), [("max_tokens", 10**9), ("max_completion_tokens", 10**9), ("n", 128)]
)
def test_counts_of_a_chat_go_up_to_their_bounds_and_null_is_none(name, most):
    def chat(value):
        return RequestBody.parse(orjson.dumps({"model": "m", "messages": [], name: value})).check_chat()

    assert chat(most).fields[name] == most
    assert chat(None).output_cap is None
    with pytest.raises(MalformedCall):
        chat(most + 1)


def test_events_are_cut_the_same_however_the_bytes_arrive():
    stream = b': ping\n\ndata: {"a":1}\r\n\r\nevent: x\ndata: one\ndata: two\n\ndata: [DONE]\n\n'
    whole = EventBlocks().feed(stream)
    blocks = EventBlocks()
    single = [block for index in range(len(stream)) for block in blocks.feed(stream[index : index + 1])]
    assert b"".join(whole) == b"".join(single) == stream
    assert [data_of(block) for block in whole] == [None, b'{"a":1}', b"one\ntwo", b"[DONE]"]


def test_an_unfinished_event_is_kept():
    blocks = EventBlocks()
    assert blocks.feed(b"data: 1\n") == []
    assert blocks.rest() == b"data: 1\n"
    assert blocks.rest() == b""


def test_tokens_are_read_by_kind_and_nonsense_counts_as_nothing():
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "prompt_tokens_details": {"cached_tokens": 60, "cache_creation_tokens": 10, "audio_tokens": True},
        "completion_tokens_details": {"reasoning_tokens": 5, "audio_tokens": -3},
    }
    assert Tokens.reported(usage) == Tokens(100, 20, cached=60, cache_write=10, reasoning=5)
    assert Tokens.reported({"prompt_tokens": 9, "prompt_cache_hit_tokens": 4}) == Tokens(input=9, cached=4)


@pytest.mark.parametrize("total", ["9", 9.0, True, -1, 10**9 + 1, 2**63, 2**64])
def test_a_total_that_makes_no_sense_is_no_report(total):
    assert Tokens.reported({"prompt_tokens": total, "completion_tokens": 4}) is None
    assert Tokens.reported({"prompt_tokens": 9, "completion_tokens": total}) is None
    part = {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": total}}
    assert Tokens.reported(part) == Tokens(9, 4)


def test_writes_that_are_kept_for_an_hour_are_part_of_all_writes():
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 3,
        "cache_creation_input_tokens": 30,
        "cache_read_input_tokens": 50,
        "prompt_tokens_details": {
            "cached_tokens": 50,
            "cache_creation_tokens": 30,
            "cache_creation_token_details": {
                "ephemeral_5m_input_tokens": 10,
                "ephemeral_1h_input_tokens": 20,
            },
        },
    }
    assert Tokens.reported(usage) == Tokens(100, 3, cached=50, cache_write=30, cache_write_1h=20)


def test_thoughts_that_a_provider_counts_beside_the_output_are_part_of_it():
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "completion_tokens_details": {"reasoning_tokens": 100},
    }
    assert Tokens.reported({**usage, "total_tokens": 115}) == Tokens(10, 105, reasoning=100)
    inside = {**usage, "completion_tokens": 105, "total_tokens": 115}
    assert Tokens.reported(inside) == Tokens(10, 105, reasoning=100)


def test_the_cap_of_a_key_goes_on_under_the_name_that_the_provider_takes():
    def sent(raw, extensions):
        body = RequestBody.parse(raw)
        return body.for_upstream("m", ask_usage=False, extensions=extensions, output_cap=5)

    assert sent(b'{"model": "m", "n" : 1}', frozenset({"max_tokens"})) == (
        b'{"model": "m", "n" : 1,"max_tokens":5}'
    )
    assert sent(b'{"model":"m"}', frozenset()) == b'{"model":"m","max_completion_tokens":5}'
    assert (
        sent(b'{"model":"m","max_tokens":null}', frozenset({"max_tokens"})) == b'{"model":"m","max_tokens":5}'
    )
    own = b'{"model":"m","max_tokens":9}'
    assert sent(own, frozenset()) == own


def test_our_errors_have_the_shape_of_openai():
    status, body = error_body(Unauthenticated("Send a key."))
    assert status == 401
    assert orjson.loads(body) == {
        "error": {
            "message": "Send a key.",
            "type": "authentication_error",
            "param": None,
            "code": "unauthenticated",
        }
    }
    errors = [ProblemError(pointer="/a/b", code="missing_field", detail="is missing")]
    status, body = error_body(ValidationFailed("Wrong.", errors=errors))
    assert (status, orjson.loads(body)["error"]["param"]) == (422, "a.b")


def test_a_providers_error_keeps_status_message_type_code_and_retry_after():
    answer = b'{"error":{"message":"Slow down","type":"tokens","param":"x","code":"rate_limit_exceeded"}}'
    error = provider_error(429, {"retry-after": "2", "server": "x"}, answer, "openai/m")
    status, body = error_body(error)
    assert status == 429
    assert error.headers == {"Retry-After": "2"}
    assert orjson.loads(body)["error"] == {
        "message": "Slow down",
        "type": "tokens",
        "param": "x",
        "code": "rate_limit_exceeded",
    }


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_credential_of_the_gateway_is_not_mistaken_for_the_callers(status):
    answer = b'{"error":{"message":"bad key sk-12345 of org-acme","type":"auth","code":"invalid_api_key"}}'
    error = provider_error(status, {}, answer, "openai/m")
    told, body = error_body(error)
    said = orjson.loads(body)["error"]
    assert (told, said["code"], said["type"]) == (502, "upstream_credential_refused", "server_error")
    assert "not at fault" in said["message"]
    assert b"acme" not in body
    assert isinstance(error, UpstreamCredentialRefused)
    assert (error.provider_status, error.said) == (status, "bad key sk-12345 of org-acme")


@pytest.mark.parametrize(
    ("status", "error"),
    [(402, {"message": "Top up"}), (429, {"message": "Your plan", "code": "insufficient_quota"})],
)
def test_an_empty_account_of_the_gateway_is_not_mistaken_for_the_callers(status, error):
    refusal = provider_error(status, {"retry-after": "2"}, orjson.dumps({"error": error}), "openai/m")
    told, body = error_body(refusal)
    assert (told, orjson.loads(body)["error"]["code"]) == (503, "upstream_account_spent")
    assert error["message"].encode() not in body
    assert (refusal.provider_status, refusal.said, refusal.headers) == (status, error["message"], {})


def test_a_403_of_a_content_filter_is_the_callers():
    answer = b'{"error":{"message":"Your input was flagged by moderation for violence","code":403}}'
    status, body = error_body(provider_error(403, {}, answer, "openrouter/m"))
    assert status == 403
    assert orjson.loads(body)["error"]["message"] == "Your input was flagged by moderation for violence"


@pytest.mark.parametrize(
    "body", [b"<html>", b'"text"', b"[]", b'{"error":"text"}', b'{"detail":"text"}', b""]
)
def test_an_error_answer_of_any_shape_is_read(body):
    error = provider_error(503, {}, body, "openai/m")
    assert error_body(error)[0] == 503
    assert error.detail in {"text", "The provider answered 503."}


def test_an_error_inside_a_good_answer_is_found():
    assert refusal_in({"choices": []}, "m") is None
    refusal = refusal_in({"error": {"message": "overloaded", "code": 529}}, "m")
    assert refusal is not None
    assert (refusal.provider_status, refusal.detail) == (529, "overloaded")


@pytest.mark.parametrize(
    "document",
    [
        b'{"id":"1","model":"real","x":[1]}',
        b'{"id": "1", "model": "real"}',
        b'{"id":"1","model" : "real"}',
        b'{"x":{"model":"real"},"model":"real"}',
        b'{"content":"the \\"model\\":\\"real\\" thing","model":"real"}',
        b'{"content":"model","model":"real"}',
        b'{"mod\\u0065l":"real","content":"x"}',
    ],
)
def test_a_named_text_is_replaced_wherever_it_stands(document):
    edited = replace_text(document, "model", "real", b'"ours"')
    before, after = orjson.loads(document), orjson.loads(edited)
    assert after == {**before, "model": "ours"}


@pytest.mark.parametrize(
    ("document", "repeated"),
    [
        (b'{"model":"m","messages":[],"model":"dear"}', "model"),
        (b'{"model":"m","mod\\u0065l":"dear"}', "model"),
        (b'{"model":"m","stream":false,"messages":[],"stream":true}', "stream"),
        (b'{"model":"m","max_tokens":1,"max_tokens" : 100000}', "max_tokens"),
        (b'{"model":"m","max\\u005ftokens":1,"max_tokens":100000}', "max_tokens"),
        (b'{"messages":[],"model":"m","messages":[{"role":"user"}]}', "messages"),
        (b'{"input":"a","model":"m","input":"a"}', "input"),
        (b'{"model":"m","n":1,"n":128}', "n"),
        (b'{"model":"m","tools":[],"user":"a","tools":[{"function":{}}]}', "tools"),
    ],
)
def test_a_member_that_is_acted_on_may_not_be_there_twice(document, repeated):
    with pytest.raises(MalformedCall, match=f"'{repeated}' is there twice") as refused:
        RequestBody.parse(document)
    assert [error.pointer for error in refused.value.errors] == [f"/{repeated}"]


@pytest.mark.parametrize(
    "document",
    [
        b'{"model":"m","messages":[{"role":"user","content":"a \\"model\\" of \\"model\\""}]}',
        b'{"model":"m", "tools":[{"function":{"parameters":{"model":{},"stream":1}}}], "stream":true}',
        b'{"user":"u","model":"m","messages":[{"role" : "user"},{"role":"user"}]}',
        b'{"model":"m","messages":[{"content":"\\u0065scaped"}]}',
        b'{"model":"m","seed":1,"seed":2}',
        b'{ "model" : "m" , "temperature" : 1.50 }',
        b'{"model":"m","metadata":{"model":"a","model":"b"}}',
    ],
)
def test_what_is_twice_elsewhere_or_not_acted_on_goes_on_as_it_came(document):
    assert RequestBody.parse(document).for_upstream("m", ask_usage=False) == document
