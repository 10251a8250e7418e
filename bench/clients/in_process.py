"""What one call costs when caller and callee share a process; prints one JSON line of microseconds.

The callee is a FastAPI echo with a pydantic model, or a raw ASGI application ("bare") that answers 200. Calls
are made 8 in flight; CPU is this process's. Reached through `compare.py`.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import uvloop
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import BaseModel
from worker import BODY, cpu_seconds, measured

from signalbox.common.transport import AsgiServiceHop, HopRequest

CHUNKS = 60


class Query(BaseModel):
    """The measured body."""

    session_id: str
    message: str
    metadata: dict[str, str]


async def bare(scope: Any, receive: Any, send: Any) -> None:
    """The least that an ASGI application does; 60 chunks at /stream."""
    await receive()
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for _ in range(CHUNKS if scope["path"] == "/stream" else 0):
        await send({"type": "http.response.body", "body": b"data: a few words\n\n", "more_body": True})
    await send({"type": "http.response.body", "body": b"{}"})


def fastapi_app() -> FastAPI:
    """The echo."""
    app = FastAPI()

    @app.post("/echo")
    async def echo(query: Query) -> Query:
        return query

    return app


async def by_hand(app: Any) -> None:
    """The application called as ASGI with nothing around it: no task, no deadline, no cancellation."""
    parts: list[bytes] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": BODY, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        parts.append(message.get("body", b""))

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/echo",
        "raw_path": b"/echo",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())],
        "client": None,
        "server": None,
    }
    await app(scope, receive, send)


async def cost(call: Callable[[], Awaitable[object]], calls: int) -> float:
    """CPU microseconds per call, the least of three rounds."""
    await measured(call, calls // 5)
    return min([(await measured(call, calls))[0] for _ in range(3)])


async def asynchronous(calls: int) -> dict[str, float]:
    """Everything but the TestClient, which has a loop of its own."""
    app = fastapi_app()
    headers = {"content-type": "application/json"}
    request = HopRequest("POST", "/echo", headers, BODY)
    hop, bare_hop = AsgiServiceHop(app, service="echo"), AsgiServiceHop(bare, service="bare")

    async def model_only() -> None:
        Query.model_validate_json(BODY).model_dump_json()

    async def stream() -> None:
        async with bare_hop.stream(HopRequest("GET", "/stream")) as answer:
            async for _ in answer.chunks:
                pass

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
        found = {
            "pydantic alone": await cost(model_only, calls),
            "bare, by hand": await cost(lambda: by_hand(bare), calls),
            "bare, AsgiServiceHop": await cost(lambda: bare_hop.send(request), calls),
            "bare, AsgiServiceHop, 60 chunks": await cost(stream, calls // 10),
            "FastAPI, by hand": await cost(lambda: by_hand(app), calls),
            "FastAPI, AsgiServiceHop": await cost(lambda: hop.send(request), calls),
            "FastAPI, httpx.ASGITransport": await cost(
                lambda: client.post("/echo", content=BODY, headers=headers), calls // 4
            ),
        }
    await hop.aclose()
    await bare_hop.aclose()
    return found


def test_client(calls: int) -> float:
    """The TestClient of Starlette: one thread hop a call, one call at a time."""
    with TestClient(fastapi_app()) as client:
        for _ in range(20):
            client.post("/echo", content=BODY)
        start = cpu_seconds()
        for _ in range(calls):
            client.post("/echo", content=BODY)
        return (cpu_seconds() - start) / calls * 1e6


def main() -> None:
    """Measure and print."""
    calls = int(sys.argv[1])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(asynchronous(calls))
    found["FastAPI, starlette TestClient"] = test_client(calls // 10)
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
