import asyncio
import logging
from contextlib import asynccontextmanager

import orjson
import pytest
from opentelemetry.trace import NoOpTracer

from signalbox.common.context import Deadline
from signalbox.common.errors import DeadlineExceeded
from signalbox.contracts import headers as names
from signalbox.contracts.identity import Principal, Scope
from signalbox.llm_gateway.admission import Unlimited
from signalbox.llm_gateway.attempts import Attempts
from signalbox.llm_gateway.call import Caller
from signalbox.llm_gateway.calls import ModelCalls
from signalbox.llm_gateway.catalog import Catalog
from signalbox.llm_gateway.deployments import Capabilities, Deployment
from signalbox.llm_gateway.errors import (
    AnswerInvalid,
    LedgerFull,
    ModelNotAllowed,
    ModelNotFound,
    NotAChatModel,
    ProviderBroke,
    ProviderRefused,
    ProviderTimeout,
)
from signalbox.llm_gateway.money import Prices
from signalbox.llm_gateway.ports import UpstreamAnswer, UpstreamStream
from signalbox.llm_gateway.protocol import RequestBody
from signalbox.llm_gateway.rates import PriceSpec
from signalbox.llm_gateway.records import Labels
from signalbox.llm_gateway.routing import ModelRoute, Planner

USAGE = {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14}
PRICE = PriceSpec(input=1, output=2)


def answer(message="hello", usage=USAGE, model="real"):
    message = message if isinstance(message, dict) else {"role": "assistant", "content": message}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {"id": "1", "model": model, "choices": [choice], "usage": usage}


def chunk(content=None, finish=None, **members):
    delta = {} if content is None else {"content": content}
    choices = members.pop("choices", [{"index": 0, "delta": delta, "finish_reason": finish}])
    return b"data: " + orjson.dumps({"id": "1", "model": "real", "choices": choices, **members}) + b"\n\n"


USAGE_CHUNK = chunk(choices=[], usage=USAGE)
DONE = b"data: [DONE]\n\n"


class FakeUpstream:
    """Gives scripted answers in order: a dict (200), (status, dict), an error to raise, a list of stream chunks."""

    def __init__(self, *script):
        self.script = list(script)
        self.bodies = []
        self.timeouts = []
        self.left_early = False
        self.asked = asyncio.Event()

    def _next(self, request):
        self.bodies.append(orjson.loads(request.body))
        self.timeouts.append(request.timeout_s)
        self.asked.set()
        return self.script.pop(0)

    async def send(self, request):
        step = self._next(request)
        if step == "hang":
            await asyncio.Event().wait()
        if isinstance(step, Exception):
            raise step
        status, body = step if isinstance(step, tuple) else (200, step)
        return UpstreamAnswer(
            status, {"retry-after": "2"}, body if isinstance(body, bytes) else orjson.dumps(body)
        )

    @asynccontextmanager
    async def stream(self, request):
        step = self._next(request)
        if isinstance(step, Exception):
            raise step

        async def chunks():
            for item in step[1] if isinstance(step, tuple) else step:
                if item == "hang":
                    await asyncio.Event().wait()
                if isinstance(item, Exception):
                    raise item
                yield item

        ended = False
        try:
            yield UpstreamStream(step[0] if isinstance(step, tuple) else 200, {}, chunks())
            ended = True
        finally:
            self.left_early = not ended


class FakeLedger:
    """Keeps the rows in a list."""

    def __init__(self):
        self.rows = []
        self.full = False

    def record(self, call):
        self.rows.append(call)

    async def admit(self):
        if self.full:
            raise LedgerFull("full")

    async def usage(self, tenant, since_ms):
        return []


def setup(*script, **fields):
    deployment = Deployment(
        **{"model": "m", "upstream_model": "real", "base_url": "http://x/v1", "price": PRICE, **fields}
    )
    upstream, ledger = FakeUpstream(*script), FakeLedger()
    upstreams = {"openai": upstream, "litellm": upstream, "demo": upstream}
    catalog, prices = Catalog([deployment], lambda _: None), Prices()
    attempts = Attempts(catalog, upstreams, prices)
    # What retries and fallbacks do is tested elsewhere.
    planner = Planner(catalog, prices, [ModelRoute(name="*", max_attempts=1)])
    calls = ModelCalls(planner, prices, Unlimited(), ledger, NoOpTracer(), attempts)
    return calls, upstream, ledger


def body(**fields):
    raw = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}
    return RequestBody.parse(orjson.dumps(raw)).check_chat()


def caller(*scopes, deadline=None, **of_the_key):
    principal = Principal(
        tenant="acme", subject="key:1", scopes=frozenset(scopes or {Scope.LLM}), **of_the_key
    )
    return Caller(principal, Labels(session_id="s", purpose="test"), deadline)


async def read(stream):
    async with stream:
        return b"".join([piece async for piece in stream])


async def test_a_whole_answer_is_the_providers_with_our_name_of_the_model():
    calls, upstream, ledger = setup(answer())
    got = await calls.chat(body(top_k=3), caller())
    assert orjson.loads(got.body) == {**answer(), "model": "m"}
    assert upstream.bodies == [{"model": "real", "messages": [{"role": "user", "content": "hi"}], "top_k": 3}]
    (row,) = ledger.rows
    assert got.headers == {names.LEDGER_CALL_ID: row.call_id, names.LEDGER_COST: "0.000018 USD"}
    assert (row.tenant, row.subject, row.labels.session_id, row.labels.purpose) == (
        "acme",
        "key:1",
        "s",
        "test",
    )
    assert (row.model_asked, row.model_answered, row.deployment) == ("m", "real", "openai/real")
    assert (row.tokens.input, row.tokens.output, row.cost_pico, row.priced, row.estimated) == (
        10,
        4,
        18_000_000,
        True,
        False,
    )
    assert (row.outcome, row.status, len(row.attempts)) == ("ok", 200, 1)


async def test_a_key_for_other_models_is_refused_before_anything_is_called():
    calls, upstream, ledger = setup(answer())
    with pytest.raises(ModelNotAllowed) as refused:
        await calls.chat(body(), caller(models=frozenset({"other"})))
    assert (refused.value.problem().status, refused.value.problem().code) == (403, "model_not_allowed")
    assert (upstream.bodies, ledger.rows) == ([], [])
    await calls.chat(body(), caller(models=frozenset({"m"})))


@pytest.mark.parametrize(
    ("asked", "full", "error"),
    [({}, True, LedgerFull), ({"model": "none"}, False, ModelNotFound), ({}, False, ModelNotAllowed)],
)
async def test_a_call_that_is_refused_has_an_id_which_the_log_knows(caplog, asked, full, error):
    caplog.set_level(logging.DEBUG)
    calls, _, ledger = setup(answer())
    ledger.full = full
    models = {"models": frozenset({"other"})} if error is ModelNotAllowed else {}
    with pytest.raises(error) as refused:
        await calls.chat(body(**asked), caller(**models))
    call_id = refused.value.headers[names.LEDGER_CALL_ID]
    (line,) = [record for record in caplog.records if getattr(record, "call_id", None) == call_id]
    assert (line.code, ledger.rows) == (error.code, [])
    # Errors of whole times have a line of their own, when such a time begins.
    assert line.levelno == (logging.DEBUG if error is LedgerFull else logging.INFO)


async def test_a_call_that_fails_names_its_row():
    calls, _, ledger = setup((400, {"error": {"message": "no"}}))
    with pytest.raises(ProviderRefused) as refused:
        await calls.chat(body(), caller())
    assert refused.value.headers[names.LEDGER_CALL_ID] == ledger.rows[0].call_id


async def test_a_keys_cap_of_the_output_is_sent_where_the_call_has_none():
    calls, upstream, _ = setup(answer(), answer())
    await calls.chat(body(), caller(default_max_output=7))
    await calls.chat(body(max_completion_tokens=9), caller(default_max_output=7))
    assert upstream.bodies[0]["max_tokens"] == 7
    assert (upstream.bodies[1]["max_completion_tokens"], "max_tokens" in upstream.bodies[1]) == (9, False)


async def test_a_model_without_a_price_is_unpriced_not_free():
    calls, _, ledger = setup(answer(), price=None)
    got = await calls.chat(body(), caller())
    assert names.LEDGER_COST not in got.headers
    assert (ledger.rows[0].cost_pico, ledger.rows[0].priced) == (None, False)


async def test_tokens_that_are_not_reported_are_estimated_and_flagged():
    calls, _, ledger = setup(answer(usage=None))
    got = await calls.chat(body(), caller())
    assert names.LEDGER_COST not in got.headers
    row = ledger.rows[0]
    assert row.estimated
    assert row.tokens.input > 0
    assert row.cost_pico == row.tokens.input * 1_000_000 + row.tokens.output * 2_000_000


@pytest.mark.parametrize(
    ("step", "error", "outcome", "status", "code"),
    [
        ((429, {"error": {"message": "slow", "code": "rate"}}), ProviderRefused, "error", 429, "rate"),
        ((500, b"oops"), ProviderRefused, "error", 500, "provider_error"),
        (b"not json", ProviderBroke, "error", 502, "provider_broke_off"),
        ({"error": {"message": "no"}}, ProviderRefused, "error", 502, "provider_error"),
        (ProviderTimeout("late"), ProviderTimeout, "timeout", 504, "provider_timeout"),
    ],
)
async def test_a_failure_is_raised_and_has_its_row(step, error, outcome, status, code):
    calls, _, ledger = setup((200, step) if isinstance(step, bytes) else step)
    with pytest.raises(error):
        await calls.chat(body(), caller())
    (row,) = ledger.rows
    assert (row.outcome, row.status, row.error_code, row.attempts[0].outcome) == (
        outcome,
        status,
        code,
        outcome,
    )
    refused = error is ProviderRefused
    assert (row.tokens.input == 0) is refused
    assert row.estimated is not refused


async def test_a_client_that_leaves_has_one_row():
    calls, upstream, ledger = setup("hang")
    task = asyncio.create_task(calls.chat(body(), caller()))
    await asyncio.wait_for(upstream.asked.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (row,) = ledger.rows
    assert (row.outcome, row.status, row.estimated) == ("aborted", 499, True)


async def test_a_stream_goes_on_without_the_usage_that_nobody_asked_for():
    calls, upstream, ledger = setup([chunk("he"), chunk("llo"), chunk(finish="stop"), USAGE_CHUNK, DONE])
    got = await read(await calls.chat(body(stream=True), caller()))
    events = [orjson.loads(line[6:]) for line in got.split(b"\n\n") if line and line != b"data: [DONE]"]
    assert [event["model"] for event in events] == ["m"] * 3
    assert not any("usage" in event for event in events)
    assert got.endswith(DONE)
    assert upstream.bodies[0]["stream_options"] == {"include_usage": True}
    (row,) = ledger.rows
    assert (row.streamed, row.tokens.output, row.cost_pico, row.estimated) == (True, 4, 18_000_000, False)
    assert row.first_token_ms is not None


async def test_a_stream_of_a_model_under_its_own_name_is_the_providers_byte_for_byte():
    stream = [b": ping\n\n", chunk("he"), chunk(finish="stop"), USAGE_CHUNK, DONE]
    calls, _, _ = setup(stream, model="real", upstream_model=None)
    asked = body(model="real", stream=True, stream_options={"include_usage": True})
    assert await read(await calls.chat(asked, caller())) == b"".join(stream)


async def test_our_services_are_told_the_cost_with_the_usage():
    stream = [chunk("x"), chunk(finish="stop"), USAGE_CHUNK, DONE]
    asked = body(stream=True, stream_options={"include_usage": True})
    for scope, told in ((Scope.SERVICE, True), (Scope.LLM, False)):
        calls, _, _ = setup(stream)
        got = await read(await calls.chat(asked, caller(scope)))
        assert (b'"signalbox_cost":"0.000018 USD"' in got) is told


async def test_a_stream_without_done_gets_one_when_its_answer_was_whole():
    calls, _, ledger = setup([chunk("x"), chunk(finish="stop") + b"data: " + USAGE_CHUNK[6:].rstrip()])
    assert (await read(await calls.chat(body(stream=True), caller()))).endswith(DONE)
    assert (ledger.rows[0].outcome, ledger.rows[0].tokens.output) == ("ok", 4)


@pytest.mark.parametrize(
    ("chunks", "code"),
    [
        ([chunk("he")], b"provider_broke_off"),
        ([chunk("he"), ProviderBroke("cut")], b"provider_broke_off"),
        ([chunk("he"), ProviderTimeout("stall")], b"provider_timeout"),
        ([chunk("he"), b'data: {"error":{"message":"overloaded","code":"busy"}}\n\n', chunk("no")], b"busy"),
    ],
)
async def test_a_stream_that_breaks_ends_with_an_error_never_cleanly(chunks, code):
    calls, _, ledger = setup(chunks)
    got = await read(await calls.chat(body(stream=True), caller()))
    last = got.rstrip().split(b"\n\n")[-1]
    assert code in last
    assert b'"error"' in last
    assert DONE not in got
    (row,) = ledger.rows
    assert row.outcome in {"error", "timeout"}
    assert row.tokens.output == 1
    assert row.estimated


async def test_what_came_in_one_piece_with_an_error_goes_on_before_it():
    calls, _, ledger = setup([chunk("he") + b'data: {"error": {"message": "x", "code": 500}}\n\n'])
    sent = await read(await calls.chat(body(stream=True), caller()))
    assert b'"he"' in sent
    assert b'"error"' in sent.split(b"data: ")[-1]
    assert ledger.rows[0].outcome == "error"


async def test_an_event_that_is_not_json_is_left_out():
    calls, _, _ = setup([chunk("a"), b'data: {"cho\n\n', chunk("b"), chunk(finish="stop"), DONE])
    got = await read(await calls.chat(body(stream=True), caller()))
    assert got.count(b'"content"') == 2
    assert b'{"cho\n' not in got


async def test_a_bug_in_a_stream_is_its_last_event_and_not_a_cut(caplog):
    calls, _, ledger = setup([chunk("hel"), RuntimeError("planted")])
    got = await read(await calls.chat(body(stream=True), caller()))
    last = orjson.loads(got.split(b"\n\n")[-2].removeprefix(b"data: "))
    assert (last["error"]["type"], DONE in got, b"planted" in got) == ("server_error", False, False)
    assert (ledger.rows[0].outcome, ledger.rows[0].error_code) == ("error", "internal_error")
    assert "planted" in caplog.text


async def test_an_error_before_the_stream_is_an_error_not_a_stream():
    calls, upstream, ledger = setup((429, [b'{"error":{"message":"slow"}}']))
    with pytest.raises(ProviderRefused):
        await calls.chat(body(stream=True), caller())
    assert upstream.left_early
    assert (ledger.rows[0].status, ledger.rows[0].tokens.input) == (429, 0)


@pytest.mark.parametrize("read_first", [True, False])
async def test_leaving_a_stream_stops_the_provider_and_writes_one_row(read_first):
    calls, upstream, ledger = setup([chunk("four"), "hang"])
    stream = await calls.chat(body(stream=True), caller())
    if read_first:
        await anext(aiter(stream))
    await stream.aclose()
    await stream.aclose()
    assert upstream.left_early is False or upstream.script == []
    (row,) = ledger.rows
    assert (row.outcome, row.estimated, row.tokens.output) == ("aborted", True, 1)


async def test_nothing_is_called_without_a_model_a_ledger_or_time():
    calls, upstream, ledger = setup()
    with pytest.raises(ModelNotFound):
        await calls.chat(body(model="other"), caller())
    with pytest.raises(NotAChatModel):
        await setup(capabilities=Capabilities(embeddings=False))[0].embed(body(), caller())
    assert ledger.rows == []
    with pytest.raises(DeadlineExceeded):
        await calls.chat(body(), caller(deadline=Deadline.after(0)))
    ledger.full = True
    with pytest.raises(LedgerFull):
        await calls.chat(body(), caller())
    assert upstream.bodies == []


async def test_the_callers_deadline_shortens_the_deployments():
    calls, upstream, _ = setup(answer(), answer())
    await calls.chat(body(), caller(deadline=Deadline.after(5)))
    await calls.chat(body(), caller())
    assert upstream.timeouts[0] <= 5
    assert upstream.timeouts[1] == 300


TOOL = {
    "type": "function",
    "function": {
        "name": "get_order",
        "description": "Looks an order up.",
        "parameters": {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]},
    },
}
CALLED = '{"tool_calls": [{"name": "get_order", "arguments": {"id": 7}}]}'


async def test_a_model_that_says_it_has_no_tools_is_prompted_for_them_from_then_on():
    refusal = (400, {"error": {"message": "registry.ollama.ai/library/x does not support tools"}})
    calls, upstream, ledger = setup(refusal, answer(CALLED), answer("It is on its way."))
    got = await calls.chat(body(tools=[TOOL]), caller())
    message = orjson.loads(got.body)["choices"][0]["message"]
    assert message["tool_calls"][0]["function"] == {"name": "get_order", "arguments": '{"id":7}'}
    assert got.headers[names.LLM_EMULATED] == "tools"
    assert "tools" not in upstream.bodies[1]
    assert "get_order" in upstream.bodies[1]["messages"][0]["content"]
    got = await calls.chat(body(tools=[TOOL]), caller())
    assert orjson.loads(got.body)["choices"][0]["message"]["content"] == "It is on its way."
    first, second = ledger.rows
    assert [attempt.status for attempt in first.attempts] == [400, 200]
    assert (first.tokens.input, first.cost_pico) == (10, 18_000_000)
    assert len(second.attempts) == 1


async def test_a_prompted_answer_that_does_not_fit_is_repaired_once():
    bad = '{"tool_calls": [{"name": "get_order", "arguments": {"id": "seven"}}]}'
    lacking = {"capabilities": Capabilities(tools=False)}
    calls, upstream, ledger = setup(answer(bad), answer(CALLED), **lacking)
    got = await calls.chat(body(tools=[TOOL], stream=True), caller(Scope.SERVICE))
    sent = await read(got)
    assert b'"name":"get_order"' in sent
    assert sent.endswith(DONE)
    assert upstream.bodies[1]["messages"][-2] == {"role": "assistant", "content": bad}
    assert "id" in upstream.bodies[1]["messages"][-1]["content"]
    assert (ledger.rows[0].tokens.input, len(ledger.rows[0].attempts)) == (20, 2)
    calls, _, ledger = setup(answer(bad), answer(bad), **lacking)
    with pytest.raises(AnswerInvalid):
        await calls.chat(body(tools=[TOOL]), caller())
    assert (ledger.rows[0].status, ledger.rows[0].cost_pico) == (502, 36_000_000)


async def test_json_is_prompted_for_and_checked_against_its_schema():
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    calls, upstream, _ = setup(
        answer("Sure!"), answer('```json\n{"a": 1}\n```'), capabilities=Capabilities(json_mode=False)
    )
    got = await calls.chat(body(response_format=wanted), caller())
    assert orjson.loads(got.body)["choices"][0]["message"]["content"] == '{"a":1}'
    assert "response_format" not in upstream.bodies[0]
