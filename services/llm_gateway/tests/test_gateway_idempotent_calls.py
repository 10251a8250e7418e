"""Calls that are made once for their key: what is kept, who waits, and when a key is free again."""

import asyncio

import pytest

from signalbox.common.context import Deadline
from signalbox.common.errors import Unavailable
from signalbox.common.storage import NotStorable
from signalbox.contracts.identity import Principal
from signalbox.llm_gateway.answers import WholeAnswer
from signalbox.llm_gateway.caching.idempotency import IdempotentCalls, Repeatable
from signalbox.llm_gateway.caching.idempotency.records import KeyRow
from signalbox.llm_gateway.errors import (
    IdempotencyInProgress,
    IdempotencyKeyReused,
    IdempotencyNotReplayable,
    IdempotencyUnavailable,
    MalformedCall,
    ProviderRefused,
    UpstreamCredentialRefused,
)

BODY = b'{"model":"m","messages":[]}'
DONE = b"data: [DONE]\n\n"


class Keys:
    """The table of keys, shared by the processes of a test; ``away`` fails every use of it."""

    def __init__(self):
        self.rows = {}
        self.away = False
        self.unstorable = False
        self.claims = 0

    def _check(self):
        if self.away:
            raise Unavailable("away")

    async def claim(self, name, request_hash, claim, now, *, silent_since, expires_at):
        await asyncio.sleep(0)
        self._check()
        self.claims += 1
        row = self.rows.get(name)
        if row is None or row["expires_at"] <= now or (row["running"] and row["heard"] <= silent_since):
            self.rows[name] = {
                "hash": request_hash, "claim": claim, "running": True, "heard": now, "expires_at": expires_at,
                "reply": None,
            }  # fmt: skip
            return None
        return KeyRow(row["hash"], row["claim"], not row["running"], row["reply"])

    async def is_running(self, name, claim, *, silent_since):
        self._check()
        row = self.rows.get(name)
        return row is not None and row["claim"] == claim and row["running"] and row["heard"] > silent_since

    async def finish(self, name, claim, reply):
        self._check()
        if self.unstorable and reply is not None:
            raise NotStorable("no column holds it")
        row = self.rows.get(name)
        if row is None or row["claim"] != claim or not row["running"]:
            return False
        row.update(running=False, reply=reply)
        return True

    async def free(self, name, claim):
        self._check()
        row = self.rows.get(name)
        if row is not None and row["claim"] == claim and row["running"]:
            del self.rows[name]


class Stream:
    """A streamed answer in pieces."""

    headers = {"x": "stream"}

    def __init__(self, *pieces):
        self.pieces = pieces
        self.closed = False

    async def __aiter__(self):
        for piece in self.pieces:
            yield piece

    async def aclose(self):
        self.closed = True


class Made:
    """What makes the call: counts, and gives its results in order; ``go_on`` holds it."""

    def __init__(self, *results, hold=False):
        self.results = list(results)
        self.count = 0
        self.go_on = asyncio.Event()
        self.began = asyncio.Event()
        if not hold:
            self.go_on.set()

    async def __call__(self):
        self.count += 1
        self.began.set()
        await self.go_on.wait()
        result = self.results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result


class World:
    def __init__(self, **options):
        self.now = 1_000_000
        self.keys = Keys()
        self.options = {
            "kept_s": 60,
            "max_bytes": 100,
            "when_unavailable": "closed",
            "silent_s": 10,
            **options,
        }
        self.calls = self.process()

    def process(self):
        """Another process over the same table."""
        return IdempotentCalls(self.keys, lambda: self.now, **self.options)

    async def ask(self, made, *, calls=None, key="k", body=BODY, subject="key:1", **fields):
        who = Principal(tenant="t", subject=subject)
        asked = Repeatable(key, who, "chat/completions", body, **fields)
        answer = await (calls or self.calls).answer(asked, made)
        if isinstance(answer, WholeAnswer):
            return answer.body, answer.headers
        pieces = [piece async for piece in answer]
        await answer.aclose()
        return b"".join(pieces), answer.headers

    def state(self):
        return [row["running"] for row in self.keys.rows.values()]


def whole(text=b"answer"):
    return WholeAnswer(text, {"signalbox-llm-call-id": "llm_1", "x-ratelimit-remaining-requests": "4"})


async def settled(world):
    """What is being written of calls that are over is written."""
    await world.calls.close()


async def test_the_second_call_gets_the_first_ones_reply_byte_for_byte_and_says_so():
    world, made = World(), Made(whole())
    first, again = [await world.ask(made) for _ in range(2)]
    assert (made.count, first[0], again[0]) == (1, b"answer", b"answer")
    assert again[1] == {"signalbox-llm-call-id": "llm_1", "signalbox-llm-replayed": "true"}
    assert await world.ask(made, calls=world.process()) == again


async def test_a_key_is_a_principals_own_and_without_one_every_call_is_made():
    world, made = World(), Made(*(whole(b"%d" % number) for number in range(4)))
    answers = [
        await world.ask(made, **who) for who in ({}, {"subject": "key:2"}, {"key": None}, {"key": None})
    ]
    assert [answer[0] for answer in answers] == [b"0", b"1", b"2", b"3"]
    for key in ("", "x" * 256):
        with pytest.raises(MalformedCall):
            await world.ask(made, key=key)


async def test_calls_at_a_time_are_made_once_and_asked_of_the_database_once_for_a_process():
    world, made = World(), Made(whole(), hold=True)
    other = world.process()
    asking = [
        asyncio.create_task(world.ask(made, calls=calls)) for calls in (world.calls, world.calls, other) * 5
    ]
    await made.began.wait()
    made.go_on.set()
    answers = await asyncio.gather(*asking)
    assert made.count == 1
    assert {answer[0] for answer in answers} == {b"answer"}
    assert sum("signalbox-llm-replayed" not in answer[1] for answer in answers) == 1
    assert world.keys.claims <= 3


async def test_another_body_is_refused_and_the_order_of_members_makes_no_other():
    world, made = World(), Made(whole(), hold=True)
    first = asyncio.create_task(world.ask(made))
    await made.began.wait()
    # While the first is under way, of this process and of another, and after it.
    for calls in (world.calls, world.process()):
        with pytest.raises(IdempotencyKeyReused):
            await world.ask(made, calls=calls, body=b'{"model":"n","messages":[]}')
    made.go_on.set()
    await first
    with pytest.raises(IdempotencyKeyReused):
        await world.ask(made, body=b'{"model":"n","messages":[]}')
    assert (await world.ask(made, body=b'{ "messages":[], "model":"m" }'))[0] == b"answer"
    assert made.count == 1


async def test_who_cannot_wait_for_the_first_call_is_told_to_come_again():
    world, made = World(), Made(whole(), hold=True)
    first = asyncio.create_task(world.ask(made))
    await made.began.wait()
    for calls in (world.calls, world.process()):
        with pytest.raises(IdempotencyInProgress) as refused:
            await world.ask(made, calls=calls, deadline=Deadline.after(0.05))
        assert refused.value.headers == {"Retry-After": "1"}
    made.go_on.set()
    assert (await first)[0] == b"answer"


@pytest.mark.parametrize(
    "failure",
    [
        RuntimeError("a bug"),
        ProviderRefused(503, "busy"),
        ProviderRefused(429, "slow down"),
        UpstreamCredentialRefused(401, "d", "bad key"),
    ],
)
async def test_a_failure_frees_the_key_for_those_who_wait_and_for_later_ones(failure):
    world, made = World(), Made(failure, whole(), hold=True)
    first, second = (asyncio.create_task(world.ask(made)) for _ in range(2))
    await made.began.wait()
    made.go_on.set()
    with pytest.raises(type(failure)):
        await first
    assert (await second)[0] == b"answer"
    assert made.count == 2


async def test_a_refusal_of_the_request_is_the_reply():
    refusal = ProviderRefused(
        400, "no", provider_code="bad", kind="k", param="p", headers={"signalbox-llm-call-id": "i"}
    )
    world, made = World(), Made(refusal)
    for calls in (world.calls, world.calls, world.process()):
        with pytest.raises(ProviderRefused) as refused:
            await world.ask(made, calls=calls)
        again = refused.value
        assert (again.provider_status, again.detail, again.provider_code) == (400, "no", "bad")
        assert again.headers["signalbox-llm-call-id"] == "i"
    assert again.headers["signalbox-llm-replayed"] == "true"
    assert made.count == 1


async def test_a_stream_is_kept_when_it_is_whole_and_replayed_as_it_was():
    world, made = World(), Made(Stream(b"data: 1\n\n", DONE))
    first, again = [await world.ask(made) for _ in range(2)]
    assert again[0] == first[0] == b"data: 1\n\n" + DONE
    assert (made.count, again[1]["signalbox-llm-replayed"]) == (1, "true")


async def test_a_stream_that_is_not_whole_frees_the_key():
    world, made = World(), Made(Stream(b"data: 1\n\n"), whole())
    await world.ask(made)
    await settled(world)
    assert (await world.ask(made))[0] == b"answer"


@pytest.mark.parametrize("answer", [whole(b"x" * 101), Stream(b"x" * 101, DONE)])
async def test_what_is_too_large_is_not_made_again(answer):
    world, made = World(), Made(answer)
    await world.ask(made)
    for calls in (world.calls, world.process()):
        with pytest.raises(IdempotencyNotReplayable):
            await world.ask(made, calls=calls)
    assert made.count == 1


async def test_what_no_column_can_hold_is_not_made_again():
    world, made = World(), Made(whole())
    world.keys.unstorable = True
    await world.ask(made)
    with pytest.raises(IdempotencyNotReplayable):
        await world.ask(made, calls=world.process())


async def test_a_caller_that_leaves_frees_the_key():
    world, made = World(), Made(whole(), hold=True)
    leaving = asyncio.create_task(world.ask(made))
    await made.began.wait()
    leaving.cancel()
    await asyncio.wait({leaving})
    await settled(world)
    assert (world.state(), world.calls.claims()) == ([], [])
    made.go_on.set()
    assert (await world.ask(made))[0] == b"answer"


async def test_a_call_is_claimed_as_long_as_it_is_made():
    world, made = World(), Made(whole(), hold=True)
    first = asyncio.create_task(world.ask(made))
    await made.began.wait()
    (claim,) = world.calls.claims()
    assert [row["claim"] for row in world.keys.rows.values()] == [claim]
    made.go_on.set()
    await first
    assert world.calls.claims() == []


async def test_the_key_of_a_dead_process_is_free_and_that_of_a_silent_one_is_not_taken_twice(caplog):
    world, made = World(), Made(whole(b"late"), whole(b"new"), hold=True)
    silent = asyncio.create_task(world.ask(made))
    await made.began.wait()
    world.now += 11_000
    second = Made(whole(b"new"))
    assert (await world.ask(second, calls=world.process()))[0] == b"new"
    made.go_on.set()
    assert (await silent)[0] == b"late"
    # The reply of the one that took over stays.
    assert (await world.ask(second, calls=world.process()))[0] == b"new"
    assert "taken for dead" in caplog.text


async def test_a_reply_is_forgotten_when_its_time_is_over():
    world, made = World(), Made(whole(b"old"), whole(b"new"))
    await world.ask(made)
    world.now += 60_000
    assert (await world.ask(made))[0] == b"new"


@pytest.mark.parametrize("policy", ["closed", "open"])
async def test_while_keys_cannot_be_looked_up_the_setting_decides(policy):
    world, made = World(when_unavailable=policy), Made(whole())
    world.keys.away = True
    if policy == "open":
        assert (await world.ask(made))[0] == b"answer"
    else:
        with pytest.raises(IdempotencyUnavailable) as refused:
            await world.ask(made)
        assert refused.value.headers == {"Retry-After": "2"}
        world.keys.away = False
        assert (await world.ask(made))[0] == b"answer"
    assert made.count == 1


async def test_a_reply_that_cannot_be_written_at_once_is_written_later():
    world, made = World(), Made(whole(), hold=True)
    first = asyncio.create_task(world.ask(made))
    await made.began.wait()
    world.keys.away = True
    made.go_on.set()
    await asyncio.sleep(0)
    world.keys.away = False
    assert (await first)[0] == b"answer"
    await settled(world)
    assert world.state() == [False]
