"""An app that refuses to start says so in one sentence, without a traceback in the log."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from fastapi import FastAPI
from starlette.types import Message

from signalbox.common.cli.refusal import RefusalKept
from signalbox.common.errors import Conflict


def app_that_raises(error: Exception) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        raise error
        yield

    return FastAPI(lifespan=lifespan)


async def started(app: RefusalKept) -> list[Message]:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    async def send(message: Message) -> None:
        sent.append(message)

    with pytest.raises((Conflict, RuntimeError)):
        await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)
    return sent


async def test_an_error_of_ours_is_kept_and_its_traceback_left_out() -> None:
    app = RefusalKept(app_that_raises(Conflict("The database is in use.")))
    assert await started(app) == [{"type": "lifespan.startup.failed", "message": ""}]
    assert app.refusal is not None
    assert app.refusal.detail == "The database is in use."


async def test_a_bug_keeps_its_traceback() -> None:
    app = RefusalKept(app_that_raises(RuntimeError("a bug")))
    (message,) = await started(app)
    assert "RuntimeError: a bug" in message["message"]
    assert app.refusal is None
