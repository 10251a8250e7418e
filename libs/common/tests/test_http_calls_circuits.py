"""Circuit breakers over a hand-written `Outbound`: when nothing is sent, and what lets calls through again."""

import asyncio
import json
from typing import Any

import pytest

from signalbox.common.context import Deadline, RequestContext, enter_request
from signalbox.common.http_calls import CallFailed, HttpCall, HttpCallExecutor
from signalbox.common.http_calls.circuits import Circuits
from signalbox.common.secrets import Secret
from signalbox.common.templates import Templates
from signalbox.common.transport import (
    OutboundRefused,
    OutboundRequest,
    OutboundResponse,
    OutboundTimeout,
    OutboundUnreachable,
)
from signalbox.contracts.config import CircuitBreaker, HttpRequest, ResponseMapping, Retry

RULES = {"min_calls": 4, "failure_share": 0.5, "window_seconds": 30, "open_seconds": 10}
GONE = OutboundUnreachable("api.example", "gone", sent=False)
SLOW = OutboundTimeout("api.example", "slow")


class NoSecrets:
    async def get(self, tenant: str, name: str) -> Secret:
        raise AssertionError("no call here has a credential")


class Backend:
    """Answers what it is told to; a gate holds answers back."""

    def __init__(self) -> None:
        self.answer: int | Exception = 200
        self.sent: list[OutboundRequest] = []
        self.gate: asyncio.Event | None = None
        self.called = asyncio.Event()

    async def send(self, request: OutboundRequest) -> OutboundResponse:
        self.sent.append(request)
        self.called.set()
        answer = self.answer
        if self.gate is not None:
            await self.gate.wait()
        if isinstance(answer, Exception):
            raise answer
        return OutboundResponse(answer, {"content-type": "application/json"}, json.dumps({}).encode())

    async def aclose(self) -> None:
        """Nothing is open."""


class Stage:
    """An executor whose time stands still until it is told to pass."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.opened = 0
        self.backend = Backend()
        self.executor = HttpCallExecutor(
            self.backend,
            NoSecrets(),
            circuits=Circuits(lambda: self.now, self.note_opened),
            sleep=lambda _: asyncio.sleep(0),
        )

    def note_opened(self) -> None:
        self.opened += 1

    async def call(self, tenant: str = "acme", **options: Any) -> str:
        """``ok``, or the code of the failure."""
        try:
            await self.executor.execute(made(**options), rendered(), tenant=tenant, idempotency_key="k")
        except CallFailed as failure:
            return failure.error.code
        return "ok"

    async def fail(self, times: int, answer: int | Exception = 503, **options: Any) -> None:
        """Let ``times`` calls fail; the backend is well again afterwards."""
        self.backend.answer = answer
        for _ in range(times):
            assert await self.call(**options) != "ok"
        self.backend.answer = 200
        self.backend.sent.clear()
        self.backend.called.clear()


def made(
    name: str = "t",
    url: str = "https://api.example/x",
    write: bool = False,
    idempotent: bool = False,
    attempts: int = 1,
    rules: dict[str, Any] | None = RULES,
    timeout_ms: int = 5000,
) -> HttpCall:
    return HttpCall(
        HttpRequest(url=url, method="POST" if write else "GET"),
        Templates(),
        variables={},
        auth=None,
        response=ResponseMapping(),
        retry=Retry(attempts=attempts, backoff_ms=0),
        timeout_ms=timeout_ms,
        write=write,
        repeatable=idempotent or not write,
        name=name,
        circuit=None if rules is None else CircuitBreaker(**rules),
    )


def rendered(url: str = "https://api.example/x") -> Any:
    return made(url=url).render({"vars": {}, "arguments": {}, "context": {}})


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.mark.parametrize("answer", [500, 502, 503, 504, GONE, SLOW])
async def test_what_keeps_failing_is_not_asked_for_a_while(stage: Stage, answer: int | Exception) -> None:
    await stage.fail(4, answer)
    with pytest.raises(
        CallFailed, match=r"failed repeatedly; nothing was sent\. It is tried again in 10 s"
    ) as no:
        await stage.executor.execute(made(), rendered(), tenant="acme", idempotency_key="k")
    assert (no.value.error.code, no.value.attempts) == ("unreachable", 0)
    assert stage.backend.sent == []


@pytest.mark.parametrize("answer", [200, 400, 404, 409, 429, OutboundRefused("h", "private")])
async def test_what_answers_is_not_held_back(stage: Stage, answer: int | Exception) -> None:
    stage.backend.answer = answer
    for _ in range(20):
        await stage.call()
    assert len(stage.backend.sent) == 20


async def test_a_share_below_the_limit_does_not_open_it(stage: Stage) -> None:
    for _ in range(10):
        stage.backend.answer = 200
        assert [await stage.call(), await stage.call()] == ["ok", "ok"]
        stage.backend.answer = 503
        assert await stage.call() == "upstream_error"
    assert len(stage.backend.sent) == 30


async def test_failures_of_long_ago_do_not_count(stage: Stage) -> None:
    await stage.fail(3)
    stage.now += 31
    await stage.fail(3)
    assert await stage.call() == "ok"


async def test_one_call_is_let_through_and_decides(stage: Stage) -> None:
    await stage.fail(4)
    stage.now += 9.9
    assert await stage.call() == "unreachable"
    stage.now += 0.2
    stage.backend.answer = 503
    assert await stage.call() == "upstream_error"
    assert [await stage.call(), await stage.call()] == ["unreachable", "unreachable"]
    stage.now += 10.1
    stage.backend.answer = 200
    assert [await stage.call() for _ in range(3)] == ["ok", "ok", "ok"]
    assert len(stage.backend.sent) == 4
    assert stage.opened == 1


async def test_of_many_that_come_at_once_one_is_let_through(stage: Stage) -> None:
    await stage.fail(4)
    stage.now += 10.1
    stage.backend.gate = asyncio.Event()
    waiting = [asyncio.create_task(stage.call()) for _ in range(20)]
    done, pending = await asyncio.wait(waiting, timeout=1, return_when=asyncio.ALL_COMPLETED)
    assert (len(done), len(pending), len(stage.backend.sent)) == (19, 1, 1)
    assert {task.result() for task in done} == {"unreachable"}
    stage.backend.gate.set()
    assert await pending.pop() == "ok"
    assert await stage.call() == "ok"


async def test_a_trial_that_is_given_up_leaves_room_for_another(stage: Stage) -> None:
    await stage.fail(4)
    stage.now += 10.1
    stage.backend.gate = asyncio.Event()
    trial = asyncio.create_task(stage.call())
    await stage.backend.called.wait()
    trial.cancel()
    with pytest.raises(asyncio.CancelledError):
        await trial
    stage.backend.gate = None
    assert await stage.call() == "ok"


async def test_others_are_not_held_back_with_it(stage: Stage) -> None:
    await stage.fail(4)
    assert await stage.call(tenant="other") == "ok"
    assert await stage.call(name="another") == "ok"
    elsewhere = made(url="https://second.example/x")
    request = elsewhere.render({"vars": {}, "arguments": {}, "context": {}})
    assert (
        await stage.executor.execute(elsewhere, request, tenant="acme", idempotency_key="k")
    ).attempts == 1
    assert await stage.call() == "unreachable"


async def test_without_rules_every_call_is_made(stage: Stage) -> None:
    await stage.fail(20, rules=None)
    assert await stage.call(rules=None) == "ok"


async def test_a_caller_without_time_does_not_open_it_for_others(stage: Stage) -> None:
    enter_request(RequestContext("r", Deadline.after(2)))
    await stage.fail(10, SLOW, timeout_ms=5000)
    assert await stage.call() == "ok"


async def test_a_write_whose_repetition_is_held_back_says_what_became_of_the_first(stage: Stage) -> None:
    await stage.fail(3)
    stage.backend.answer = SLOW
    assert await stage.call(write=True, idempotent=True, attempts=3) == "unknown_outcome"
    assert len(stage.backend.sent) == 1


async def test_a_write_of_which_nothing_was_sent_is_tried_again(stage: Stage) -> None:
    stage.backend.answer = GONE
    assert await stage.call(write=True, attempts=3) == "unreachable"
    assert len(stage.backend.sent) == 3
    stage.backend.answer = SLOW
    assert await stage.call(write=True, attempts=3, rules=None) == "unknown_outcome"
    assert len(stage.backend.sent) == 4
