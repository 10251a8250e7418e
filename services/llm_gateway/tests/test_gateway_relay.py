"""What goes on of a provider's events, by the short way that most of them take and by the long one."""

import orjson
import pytest
from opentelemetry import trace

from signalbox.llm_gateway.accounting import AttemptAccount
from signalbox.llm_gateway.admission import NO_SLOT
from signalbox.llm_gateway.deployments import Deployment
from signalbox.llm_gateway.protocol import EventBlocks
from signalbox.llm_gateway.relay import StreamRelay


def relay(upstream_model="real", **options):
    deployment = Deployment(
        model="alias",
        upstream_model=upstream_model,
        provider="openai-compatible",
        base_url="http://127.0.0.1:1/v1",
    )
    account = AttemptAccount(1, deployment, None, 10, trace.INVALID_SPAN, NO_SLOT)
    return StreamRelay(account, model="alias", wants_usage=False, **options), account


def event(text="", *, before="", after="", delta=None, finish="null"):
    told = delta or orjson.dumps({"content": text}).decode()
    return (
        f'data: {{"id": "1", {before}"model": "real", "choices": [{{"index": 0, "delta": {told}, '
        f'"finish_reason": {finish}}}]{after}}}\n\n'
    ).encode()


def test_every_event_is_renamed_and_nothing_else_of_it_is_touched():
    passes, _ = relay()
    said = ["a", 'the "model": "real"', "ü", "", 'x"model"y', "b"]
    for number, text in enumerate(said):
        # Some name a model twice, or in their text.
        before = f'"n": {number // 2}, ' if number < 4 else '"n": {"model": "real"}, '
        given = event(text, before=before)
        passed = passes.pass_on(given)
        assert orjson.loads(passed[6:]) == {**orjson.loads(given[6:]), "model": "alias"}
        assert passed.count(b'"alias"') == 1


def test_an_answer_under_its_own_name_goes_on_byte_for_byte_and_is_counted():
    passes, account = relay("alias")
    events = [event(delta='{"role": "assistant", "content": ""}'), event("one"), event("zwölf"), event("")]
    assert [passes.pass_on(each) for each in events] == events
    assert account.row is None
    passes.pass_on(event(delta='{"content": "x", "refusal": "no"}'))
    account.close("aborted", 499)
    assert account.row.tokens.output == -(-len("onezwölfxno".encode()) // 4)


def test_what_is_more_than_text_takes_the_long_way():
    passes, _ = relay("alias")
    passes.pass_on(event("a"))
    assert not passes.whole
    passes.pass_on(event("b", delta='{"content": "b"}', finish='"stop"'))
    assert passes.whole
    second = event("c").replace(b'"index": 0', b'"index": 1')
    passes.pass_on(second)
    assert not passes.whole, "a choice that began after another had ended"
    assert passes.pass_on(event("d", after=', "usage": {"prompt_tokens": 3}')) != b""


@pytest.mark.parametrize("pieces", [1, 2, 7, 1000])
def test_events_are_cut_alike_however_lines_end_and_pieces_fall(pieces):
    for end in (b"\n", b"\r\n", b"\r"):
        stream = b"".join(b"data: %d%b: comment%b%b" % (number, end, end, end) for number in range(5))
        blocks, found = EventBlocks(), []
        for position in range(0, len(stream), pieces):
            found += blocks.feed(stream[position : position + pieces])
        assert b"".join(found) + blocks.rest() == stream
        # Between two pieces a lone CR LF pair may look like two ends of lines; whole events come out all the same.
        assert len(found) >= 5
