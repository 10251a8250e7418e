"""What only the in-process hop does: backpressure, isolation, background work, lifespans."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import pytest
from fastapi import BackgroundTasks, FastAPI, Request
from fastapi.responses import StreamingResponse

from signalbox.common.transport import AsgiServiceHop, HopRequest, LifespanError, LifespanManager, lifespans


async def test_a_callee_waits_for_a_slow_reader() -> None:
    sent = 0

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        nonlocal sent
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(1000):
            await send({"type": "http.response.body", "body": b"x" * 1024, "more_body": True})
            sent += 1
        await send({"type": "http.response.body", "body": b""})

    hop = AsgiServiceHop(app, service="fast")
    async with hop.stream(HopRequest("GET", "/", timeout=10)) as stream:
        assert await anext(stream.chunks) == b"x" * 1024
        for _ in range(2000):
            await asyncio.sleep(0)
        assert sent <= 65
        rest = await stream.read()
    assert len(rest) == 999 * 1024
    await hop.aclose()


async def test_nothing_but_the_request_crosses() -> None:
    secret: ContextVar[str] = ContextVar("secret", default="unset")

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        seen = secret.get()
        secret.set("set by the callee")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": seen.encode()})

    secret.set("set by the caller")
    hop = AsgiServiceHop(app, service="callee")
    assert (await hop.send(HopRequest("GET", "/"))).body == b"unset"
    assert secret.get() == "set by the caller"
    await hop.aclose()


async def test_an_exception_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        raise RuntimeError("the callee is broken")

    with caplog.at_level(logging.ERROR):
        response = await AsgiServiceHop(app, service="callee").send(HopRequest("GET", "/x"))
    assert response.status == 500
    (record,) = caplog.records
    assert record.exc_info
    assert "the callee is broken" in str(record.exc_info[1])


async def test_cancellation_runs_the_callees_clean_up_before_the_caller_goes_on() -> None:
    arrived, cleaned = asyncio.Event(), []
    app = FastAPI()

    @app.get("/wait")
    async def wait() -> None:
        try:
            arrived.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)

    task = asyncio.create_task(AsgiServiceHop(app, service="callee").send(HopRequest("GET", "/wait")))
    await asyncio.wait_for(arrived.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned == [True]


async def test_leaving_a_fastapi_stream_closes_its_generator() -> None:
    closed = asyncio.Event()
    app = FastAPI()

    async def words() -> AsyncIterator[str]:
        try:
            yield "first"
            await asyncio.Event().wait()
        finally:
            closed.set()

    @app.get("/words")
    async def stream_words() -> StreamingResponse:
        return StreamingResponse(words())

    hop = AsgiServiceHop(app, service="callee")
    async with hop.stream(HopRequest("GET", "/words")) as stream:
        assert await anext(stream.chunks) == b"first"
    await asyncio.wait_for(closed.wait(), 1)
    await hop.aclose()


async def test_background_work_goes_on_after_the_answer_and_is_awaited_at_the_end() -> None:
    go_on, done = asyncio.Event(), asyncio.Event()
    app = FastAPI()

    async def later() -> None:
        await go_on.wait()
        done.set()

    @app.post("/start")
    async def start(background: BackgroundTasks) -> dict[str, bool]:
        background.add_task(later)
        return {"started": True}

    hop = AsgiServiceHop(app, service="callee")
    response = await hop.send(HopRequest("POST", "/start"))
    assert response.body == b'{"started":true}'
    assert not done.is_set()
    go_on.set()
    await hop.aclose()
    assert done.is_set()


async def test_lifespan_state_reaches_requests() -> None:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, str]]:
        yield {"greeting": "hello"}

    app = FastAPI(lifespan=lifespan)

    @app.get("/")
    async def read(request: Request) -> str:
        request.state.own = 1
        return str(request.state.greeting)

    async with lifespans([app]) as (state,):
        hop = AsgiServiceHop(app, service="callee", state=state)
        assert (await hop.send(HopRequest("GET", "/"))).body == b'"hello"'
        assert state == {"greeting": "hello"}
        await hop.aclose()


def logged_app(name: str, log: list[str], *, fail_at: str = "") -> FastAPI:
    """An application that writes down its start and stop and raises at one of them."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        log.append(f"{name} starts")
        if fail_at == "startup":
            raise ValueError(f"{name} has no database")
        yield
        log.append(f"{name} stops")
        if fail_at == "shutdown":
            raise ValueError(f"{name} cannot stop")

    return FastAPI(lifespan=lifespan)


async def test_lifespans_start_in_order_and_stop_in_reverse() -> None:
    log: list[str] = []
    async with lifespans([logged_app("a", log), logged_app("b", log)]):
        log.append("serving")
    assert log == ["a starts", "b starts", "serving", "b stops", "a stops"]


async def test_lifespans_stop_after_an_error_in_the_body() -> None:
    log: list[str] = []
    with pytest.raises(KeyError):
        async with lifespans([logged_app("a", log), logged_app("b", log)]):
            raise KeyError("body")
    assert log == ["a starts", "b starts", "b stops", "a stops"]


async def test_a_failed_start_says_why_and_stops_the_others() -> None:
    log: list[str] = []
    apps = [logged_app("a", log), logged_app("b", log, fail_at="startup"), logged_app("c", log)]
    with pytest.raises(LifespanError, match="b has no database"):
        async with lifespans(apps):
            log.append("serving")
    assert log == ["a starts", "b starts", "a stops"]


async def test_a_failed_stop_does_not_keep_the_others_from_stopping() -> None:
    log: list[str] = []
    with pytest.raises(LifespanError, match="b cannot stop"):
        async with lifespans([logged_app("a", log), logged_app("b", log, fail_at="shutdown")]):
            log.append("serving")
    assert log[-2:] == ["b stops", "a stops"]


async def test_an_application_without_a_lifespan_is_refused() -> None:
    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        raise NotImplementedError(scope["type"])

    with pytest.raises(LifespanError, match="NotImplementedError: lifespan"):
        async with LifespanManager(app):
            raise AssertionError("it must not start")


async def test_a_lifespan_that_ends_early_is_told_at_shutdown() -> None:
    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})

    with pytest.raises(LifespanError, match="before shutdown"):
        async with LifespanManager(app):
            await asyncio.sleep(0)
