"""Every fault of the fake provider as a real client meets it, and what the provider notes of it."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from signalbox_fake_provider import FakeProvider

MESSAGES = [{"role": "user", "content": "hello"}]
SIXTY = {"content": "word " * 60}


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as running:
        yield running


@pytest.fixture
def client(provider: FakeProvider) -> Iterator[OpenAI]:
    provider.reset()
    with OpenAI(base_url=provider.base_url, api_key="sk-test", max_retries=0, timeout=5) as connected:
        yield connected


@pytest.fixture
async def http(provider: FakeProvider) -> AsyncIterator[httpx.AsyncClient]:
    provider.reset()
    async with httpx.AsyncClient(base_url=provider.base_url, timeout=5) as connected:
        yield connected


def body(**more: object) -> dict[str, object]:
    return {"model": "m", "messages": MESSAGES, **more}


async def read_stream(http: httpx.AsyncClient) -> tuple[list[str], Exception | None]:
    """The data of the frames received before the end, and how it broke off."""
    frames: list[str] = []
    try:
        async with http.stream("POST", "/chat/completions", json=body(stream=True)) as reply:
            async for line in reply.aiter_lines():
                frames += [line.removeprefix("data: ")] if line else []
    except httpx.HTTPError as error:
        return frames, error
    return frames, None


def contents(frames: list[str]) -> list[str]:
    deltas = [json.loads(frame)["choices"][0]["delta"] for frame in frames if frame.startswith("{")]
    return [delta["content"] for delta in deltas if delta.get("content")]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fault", "error", "status", "code"),
    [
        ({"status": 429, "headers": {"Retry-After": 2}}, openai.RateLimitError, 429, "rate_limit_exceeded"),
        ({"status": 500}, openai.InternalServerError, 500, None),
        ({"status": 503, "message": "overloaded"}, openai.InternalServerError, 503, None),
        ({"status": 401}, openai.AuthenticationError, 401, "invalid_api_key"),
        ("context_length_exceeded", openai.BadRequestError, 400, "context_length_exceeded"),
        ("content_filter", openai.BadRequestError, 400, "content_filter"),
        (
            {"kind": "content_filter", "code": "content_policy_violation"},
            openai.BadRequestError,
            400,
            "content_policy_violation",
        ),
    ],
)
def test_errors_become_the_exceptions_of_the_sdk(
    provider: FakeProvider,
    client: Any,
    stream: bool,
    fault: object,
    error: type[openai.APIStatusError],
    status: int,
    code: str | None,
) -> None:
    provider.script([{"fault": fault}])
    with pytest.raises(error) as caught:
        client.chat.completions.create(model="m", messages=MESSAGES, stream=stream)
    assert caught.value.status_code == status
    assert caught.value.code == code
    assert caught.value.response.headers.get("retry-after") == ("2" if status == 429 else None)
    assert provider.requests()[-1].status == status


def test_an_error_limited_to_one_use_lets_the_retry_through(provider: FakeProvider, client: Any) -> None:
    provider.script([{"fault": {"status": 503}, "times": 1}])
    reply = client.with_options(max_retries=1).chat.completions.create(model="m", messages=MESSAGES)
    assert reply.choices[0].message.content == "echo: hello"
    assert [record.status for record in provider.requests()] == [503, 200]


async def test_a_hang_lasts_until_the_client_leaves(provider: FakeProvider, http: httpx.AsyncClient) -> None:
    provider.script([{"fault": "hang"}])
    asking = asyncio.create_task(http.post("/chat/completions", json=body()))
    await asyncio.to_thread(provider.wait_until, lambda seen: len(seen) == 1)
    assert provider.open_requests() == 1
    asking.cancel()
    await asyncio.to_thread(provider.wait_until, lambda seen: seen[0].disconnected)
    (record,) = provider.requests()
    assert (record.status, record.open) == (None, False)
    assert provider.open_requests() == 0


async def test_a_slow_first_token_comes_long_after_the_headers(
    provider: FakeProvider, http: httpx.AsyncClient
) -> None:
    provider.script([{"fault": {"kind": "slow_first_token", "delay_ms": 400}}])
    started = time.monotonic()
    async with http.stream("POST", "/chat/completions", json=body(stream=True)) as reply:
        headers_after = time.monotonic() - started
        await anext(reply.aiter_bytes())
        assert time.monotonic() - started >= 0.4 > headers_after


async def test_latency_comes_before_the_headers_and_delays_between_chunks(
    provider: FakeProvider, http: httpx.AsyncClient
) -> None:
    provider.script([{"reply": "abc", "chunks": 3, "latency_ms": 200, "chunk_delay_ms": 50}])
    await read_stream(http)
    (record,) = provider.requests()
    assert record.first_byte_ms is not None
    assert record.first_byte_ms >= 200
    assert record.duration_ms is not None
    assert record.duration_ms >= 200 + 3 * 50


@pytest.mark.parametrize("reset", [False, True])
async def test_a_stream_is_cut_after_n_chunks(
    provider: FakeProvider, http: httpx.AsyncClient, reset: bool
) -> None:
    fault = {"kind": "cut", "after_chunks": 40, "reset": reset}
    provider.script([{"reply": SIXTY, "chunks": 60, "chunk_delay_ms": 1, "fault": fault}])
    frames, error = await read_stream(http)
    assert isinstance(error, httpx.ReadError if reset else httpx.RemoteProtocolError)
    assert "[DONE]" not in frames
    assert len(contents(frames)) <= 40 if reset else len(contents(frames)) == 40
    await asyncio.to_thread(provider.wait_until, lambda seen: not seen[0].open)
    (record,) = provider.requests()
    assert (record.chunks_sent, record.cut, record.disconnected) == (40, True, False)


@pytest.mark.parametrize("reset", [False, True])
async def test_a_connection_is_cut_before_any_byte(
    provider: FakeProvider, http: httpx.AsyncClient, reset: bool
) -> None:
    provider.script([{"fault": {"kind": "cut", "reset": reset}}])
    with pytest.raises(httpx.ReadError if reset else httpx.RemoteProtocolError):
        await http.post("/chat/completions", json=body())


async def test_an_answer_in_one_piece_breaks_off_in_its_middle(
    provider: FakeProvider, http: httpx.AsyncClient
) -> None:
    provider.script([{"fault": {"kind": "cut", "after_chunks": 1}}])
    with pytest.raises(httpx.RemoteProtocolError):
        await http.post("/chat/completions", json=body())
    assert provider.requests()[0].status == 200


async def test_a_stall_keeps_the_connection_open_and_silent(
    provider: FakeProvider, http: httpx.AsyncClient
) -> None:
    provider.script([{"reply": SIXTY, "chunks": 60, "fault": {"kind": "stall", "after_chunks": 20}}])
    http.timeout = httpx.Timeout(5, read=0.3)
    frames, error = await read_stream(http)
    assert len(contents(frames)) == 20
    assert isinstance(error, httpx.ReadTimeout)
    await asyncio.to_thread(provider.wait_until, lambda seen: seen[0].disconnected)


async def test_a_stall_with_an_end_closes_the_connection(
    provider: FakeProvider, http: httpx.AsyncClient
) -> None:
    provider.script(
        [{"reply": SIXTY, "chunks": 60, "fault": {"kind": "stall", "after_chunks": 2, "hold_ms": 100}}]
    )
    frames, error = await read_stream(http)
    assert len(contents(frames)) == 2
    assert isinstance(error, httpx.RemoteProtocolError)


async def test_a_malformed_chunk_stands_between_good_ones(
    provider: FakeProvider, http: httpx.AsyncClient
) -> None:
    provider.script(
        [{"reply": SIXTY, "chunks": 60, "fault": {"kind": "malformed_chunk", "after_chunks": 10}}]
    )
    frames, error = await read_stream(http)
    assert error is None
    assert frames[-1] == "[DONE]"
    with pytest.raises(json.JSONDecodeError):
        json.loads(frames.pop(11))
    assert len(contents(frames)) == 60
    whole = await http.post("/chat/completions", json=body())
    assert whole.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        whole.json()


async def test_a_missing_done_ends_the_stream_properly(
    provider: FakeProvider, http: httpx.AsyncClient
) -> None:
    provider.script([{"reply": SIXTY, "fault": "missing_done"}])
    frames, error = await read_stream(http)
    assert error is None
    assert json.loads(frames[-1])["choices"][0]["finish_reason"] == "stop"


def test_an_error_in_the_stream_raises_in_the_sdk(provider: FakeProvider, client: Any) -> None:
    provider.script([{"reply": SIXTY, "chunks": 60, "fault": {"kind": "error_in_stream", "after_chunks": 5}}])
    stream = client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
    assert [next(stream).choices[0].delta.content for _ in range(6)] == ["", *["word "] * 5]
    with pytest.raises(openai.APIError, match="answers 500"):
        next(stream)


async def test_a_client_that_leaves_a_stream_is_noted(provider: FakeProvider) -> None:
    provider.reset()
    provider.script([{"reply": SIXTY, "chunks": 60, "chunk_delay_ms": 20}])
    async with AsyncOpenAI(base_url=provider.base_url, api_key="k") as client:
        stream = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "hello"}], stream=True
        )
        await anext(aiter(stream))
        await stream.close()
    await asyncio.to_thread(provider.wait_until, lambda seen: seen[0].disconnected)
    assert provider.requests()[0].chunks_sent < 60


async def test_open_requests_are_counted_at_their_peak(
    provider: FakeProvider, http: httpx.AsyncClient
) -> None:
    provider.script([{"latency_ms": 300}])
    replies = await asyncio.gather(*(http.post("/chat/completions", json=body()) for _ in range(5)))
    assert {reply.status_code for reply in replies} == {200}
    assert provider.peak_open_requests() == 5
    assert provider.open_requests() == 0


@pytest.mark.parametrize(
    ("content", "says"), [(b"{", "no JSON"), (b"[]", "JSON object"), (b'{"messages": []}', "name a model")]
)
async def test_what_is_no_request_is_refused(http: httpx.AsyncClient, content: bytes, says: str) -> None:
    reply = await http.post("/chat/completions", content=content)
    assert reply.status_code == 400
    assert says in reply.json()["error"]["message"]
