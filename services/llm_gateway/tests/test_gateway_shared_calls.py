"""Identical calls at a time: made once, heard by all, and stopped when nobody listens any more."""

import asyncio
from contextlib import AsyncExitStack

import orjson
import pytest
from support.async_waiting import until
from support.scripted_models import DONE, chunk, text_of, usage_chunk

from signalbox.common.context import Deadline
from signalbox.common.errors import DeadlineExceeded
from signalbox.contracts.identity import Principal, Scope
from signalbox.llm_gateway.admission.unlimited import UNLIMITED
from signalbox.llm_gateway.answers import StreamedAnswer, WholeAnswer
from signalbox.llm_gateway.caching.sharing import SharedCalls
from signalbox.llm_gateway.call import Call, Caller
from signalbox.llm_gateway.errors import ProviderBroke, ProviderRefused
from signalbox.llm_gateway.protocol import RequestBody
from signalbox.llm_gateway.records import Labels

PIECES = [chunk("one "), chunk("two "), chunk("three"), chunk(finish="stop"), usage_chunk(), DONE]


class Account:
    """A call's account as far as sharing goes: how it ended, which is only said once."""

    cost = None
    emulated = None

    def __init__(self, call_id):
        self.call_id = call_id
        self.cached = None
        self.outcome = None
        self.made_as = None
        """The account of the call that was made, where this one's caller came first."""

    def handed_over(self):
        self.made_as = Account(self.call_id)
        self.outcome = "handed over"
        return self.made_as

    def answered_from(self, cached):
        self.cached = cached
        self.finish("ok", 200)

    def finish(self, outcome, status, code=None):
        del status, code
        self.outcome = self.outcome or outcome

    def fail(self, error):
        self.finish("error", error.problem().status)

    def failed(self, error):
        self.finish("aborted" if isinstance(error, asyncio.CancelledError) else "error", 0)

    def abort(self):
        self.finish("aborted", 499)


def call(number, *, stream=False, wants_usage=False, deadline=None):
    fields = {"model": "m", "messages": [], "stream": stream}
    if wants_usage:
        fields["stream_options"] = {"include_usage": True}
    caller = Caller(Principal(tenant="t", subject=f"key:{number}", scopes={Scope.LLM}), Labels(), deadline)
    body = RequestBody.parse(orjson.dumps(fields))
    return Call(body, caller, "chat/completions", None, Account(f"llm_{number}"), UNLIMITED, None, None)


class Provider:
    """Makes calls: whole ones, or streams piece by piece as the test lets it; counts, and tells when it is stopped."""

    def __init__(self, error=None):
        self.error = error
        self.made = []
        self.began = asyncio.Event()
        self.go_on = asyncio.Event()
        self.pieces = asyncio.Queue()
        self.stopped = False

    async def __call__(self, made):
        self.made.append(made)
        self.began.set()
        try:
            if made.body.stream:
                return self._stream(made)
            await self.go_on.wait()
            if self.error is not None:
                raise self.error
            made.account.finish("ok", 200)
            return WholeAnswer(b"answer", made.headers())
        except asyncio.CancelledError:
            self.stopped = True
            raise

    def _stream(self, made):
        async def chunks():
            while True:
                piece = await self.pieces.get()
                if isinstance(piece, Exception):
                    raise piece
                if piece is DONE:
                    made.account.finish("ok", 200)
                yield piece
                if piece is DONE:
                    return

        resources = AsyncExitStack()
        resources.callback(lambda: setattr(self, "stopped", True))
        return StreamedAnswer(chunks(), made.headers(), made.account, resources)

    def say(self, *pieces):
        for piece in pieces:
            self.pieces.put_nowait(piece)


class World:
    def __init__(self, error=None):
        self.shared = SharedCalls()
        self.provider = Provider(error)

    async def ask(self, asked, key="k", max_bytes=10_000):
        return await self.shared.answer(key, asked, self.provider, max_bytes=max_bytes)

    def start(self, asked, **options):
        return asyncio.create_task(self.ask(asked, **options))

    async def three(self, **fields):
        """Three callers that ask while the provider is held; the calls and the tasks."""
        calls = [call(number, **fields) for number in range(3)]
        tasks = [self.start(each) for each in calls]
        await self.provider.began.wait()
        await asyncio.sleep(0)
        return calls, tasks


async def heard(answer):
    """The events that a listener of a stream gets."""
    async with answer:
        raw = b"".join([piece async for piece in answer])
    return [orjson.loads(line[6:]) for line in raw.split(b"\n\n") if line and not line.endswith(b"[DONE]")]


async def test_a_whole_answer_is_made_once_and_heard_by_all_under_their_own_names():
    world = World()
    calls, tasks = await world.three()
    world.provider.go_on.set()
    answers = await asyncio.gather(*tasks)
    assert len(world.provider.made) == 1
    assert {answer.body for answer in answers} == {b"answer"}
    assert [answer.headers["signalbox-llm-call-id"] for answer in answers] == ["llm_0", "llm_1", "llm_2"]
    assert [answer.headers.get("signalbox-llm-cache") for answer in answers] == [
        None,
        "coalesced",
        "coalesced",
    ]
    # The first one's row is that of the call which was made; the others cost nothing.
    assert calls[0].account.made_as is world.provider.made[0].account
    assert [each.account.cached for each in calls] == [None, "coalesced", "coalesced"]
    assert [each.account.outcome for each in calls] == ["handed over", "ok", "ok"]


async def test_what_is_over_is_not_joined_and_other_requests_and_forms_are_calls_of_their_own():
    world = World()
    world.provider.go_on.set()
    await world.ask(call(1))
    await world.ask(call(2))
    await world.ask(call(3), key="other")
    assert len(world.provider.made) == 3
    streamed = world.start(call(4, stream=True))
    await streamed
    assert len(world.provider.made) == 4
    await world.shared.close()


async def test_a_failure_is_everybodys_as_an_error_of_their_own():
    world = World(ProviderRefused(400, "no", provider_code="bad"))
    _, tasks = await world.three()
    world.provider.go_on.set()
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert [(error.provider_status, error.detail) for error in errors] == [(400, "no")] * 3
    assert len({id(error) for error in errors}) == 3
    assert world.provider.made[0].account.outcome == "error"
    assert len(world.provider.made) == 1
    # The next one is made anew.
    world.provider.error = None
    assert (await world.ask(call(9))).body == b"answer"


async def test_the_first_caller_may_leave_and_the_others_get_the_answer():
    world = World()
    calls, tasks = await world.three()
    tasks[0].cancel()
    await asyncio.wait({tasks[0]})
    assert not world.provider.stopped
    world.provider.go_on.set()
    assert [answer.body for answer in await asyncio.gather(*tasks[1:])] == [b"answer"] * 2
    assert calls[0].account.made_as.outcome == "ok"


@pytest.mark.parametrize("stream", [False, True])
async def test_when_all_have_left_the_call_is_stopped_and_nobody_joins_it(stream):
    world = World()
    calls, tasks = await world.three(stream=stream)
    if stream:
        for task in tasks:
            await (await task).aclose()
    else:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    again = world.start(call(9))
    await until(lambda: world.provider.stopped and len(world.provider.made) == 2)
    assert calls[0].account.made_as.outcome == "aborted"
    world.provider.go_on.set()
    assert (await again).body == b"answer"


async def test_a_stream_is_heard_from_its_beginning_whenever_one_joins():
    world = World()
    first = await world.ask(call(1, stream=True))
    reading = asyncio.create_task(heard(first))
    world.provider.say(*PIECES[:2])
    await until(world.provider.pieces.empty)
    late = await world.ask(call(2, stream=True))
    assert (late.headers["signalbox-llm-cache"], late.headers["signalbox-llm-call-id"]) == (
        "coalesced",
        "llm_2",
    )
    listening = asyncio.create_task(heard(late))
    world.provider.say(*PIECES[2:])
    assert [text_of(events) for events in await asyncio.gather(reading, listening)] == ["one two three"] * 2
    assert len(world.provider.made) == 1


async def test_the_usage_is_told_to_those_who_asked_for_it():
    world = World()
    calls = [
        call(1, stream=True, wants_usage=True),
        call(2, stream=True),
        call(3, stream=True, wants_usage=True),
    ]
    answers = [await world.ask(each) for each in calls]
    world.provider.say(*PIECES)
    events = await asyncio.gather(*(heard(answer) for answer in answers))
    assert ["usage" in each[-1] for each in events] == [True, False, True]
    assert [each.account.outcome for each in calls] == ["handed over", "ok", "ok"]


async def test_a_stream_that_breaks_breaks_for_all_with_an_error_event():
    world = World()
    calls = [call(number, stream=True) for number in range(2)]
    answers = [await world.ask(each) for each in calls]
    world.provider.say(PIECES[0], ProviderBroke("cut"))
    events = await asyncio.gather(*(heard(answer) for answer in answers))
    assert [each[-1]["error"]["code"] for each in events] == ["provider_broke_off"] * 2
    assert calls[1].account.outcome == "error"


async def test_a_listener_that_leaves_a_stream_leaves_it_to_the_others():
    world = World()
    calls = [call(number, stream=True) for number in range(2)]
    leaving, staying = [await world.ask(each) for each in calls]
    world.provider.say(PIECES[0])
    await leaving.aclose()
    assert not world.provider.stopped
    world.provider.say(*PIECES[1:])
    assert text_of(await heard(staying)) == "one two three"


async def test_a_stream_that_has_grown_too_long_is_joined_by_nobody_else():
    world = World()
    first = await world.ask(call(1, stream=True), max_bytes=50)
    world.provider.say(PIECES[0])
    await anext(aiter(first))
    second = await world.ask(call(2, stream=True), max_bytes=50)
    assert (len(world.provider.made), "signalbox-llm-cache" in second.headers) == (2, False)
    await first.aclose()
    await second.aclose()


@pytest.mark.parametrize("stream", [False, True])
async def test_nobody_listens_beyond_the_time_of_its_own_caller(stream):
    world = World()
    patient = world.start(call(1, stream=stream))
    await world.provider.began.wait()
    hurried = call(2, stream=stream, deadline=Deadline.after(0.05))
    if stream:
        events = await heard(await world.ask(hurried))
        assert events[-1]["error"]["code"] == "deadline_exceeded"
        assert hurried.account.outcome == "error"
    else:
        with pytest.raises(DeadlineExceeded):
            await world.ask(hurried)
    world.provider.go_on.set()
    world.provider.say(*PIECES)
    answer = await patient
    assert (text_of(await heard(answer)) if stream else answer.body) in {"one two three", b"answer"}


async def test_a_process_that_ends_stops_what_is_under_way():
    world = World()
    _, tasks = await world.three()
    await world.shared.close()
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(error) for error in errors} == {ProviderBroke}
    assert world.provider.stopped
