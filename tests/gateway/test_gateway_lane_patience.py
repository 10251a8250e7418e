"""How long a connection with a fast lane waits for the rest of a request, whoever is to answer it."""

import asyncio
import json
import time

import pytest
from support.async_waiting import until
from support.lane_server import CHAT, ask, connected, lane_server, say

SHORT = (0.3, 0.3)
LONG = 30.0


async def nothing_more(client):
    """What the server says before it ends the connection."""
    async with asyncio.timeout(5):
        return await client.reader.read()


async def test_who_connects_and_says_nothing_is_let_go_without_a_word():
    async with lane_server(patience=SHORT) as server, connected(server) as client:
        assert await nothing_more(client) == b""


@pytest.mark.parametrize("patience", [(0.3, LONG), SHORT])
async def test_half_a_head_is_408_and_the_end(patience):
    async with lane_server(patience=patience) as server, connected(server) as client:
        client.send(say("x").split(b"\r\n\r\n")[0])
        status, headers, body = await client.answer()
        assert (status, headers["connection"], headers["content-type"]) == (408, "close", "application/json")
        error = json.loads(body)["error"]
        assert (error["code"], "head" in error["message"]) == ("request_timeout", True)
        assert await client.at_end()
        assert server.front.asked == []


async def test_a_head_that_comes_a_byte_at_a_time_has_no_more_time_than_another():
    async with lane_server(patience=SHORT) as server, connected(server) as client:
        started = time.monotonic()

        async def drip():
            for byte in say("x" * 1000):
                client.send(bytes([byte]))
                await client.writer.drain()
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        try:
            assert (await client.answer())[0] == 408
        finally:
            dripping.cancel()
        assert 0.25 < time.monotonic() - started < 2


@pytest.mark.parametrize("patience", [(LONG, 0.3), SHORT])
@pytest.mark.parametrize("known", [False, True])
async def test_half_a_body_in_the_lane_is_408_and_asks_nothing(patience, known):
    async with lane_server(patience=patience) as server, connected(server) as client:
        if known:
            client.send(say("x"))
            assert await client.said() == "x"
        client.send(say("never whole")[:-3])
        status, _, body = await client.answer()
        error = json.loads(body)["error"]
        assert (status, error["code"], "body" in error["message"]) == (408, "request_timeout", True)
        assert await client.at_end()
        assert len(server.front.asked) == known


async def test_half_a_body_for_the_app_is_a_problem_and_the_app_hears_that_its_client_left():
    async with lane_server(patience=SHORT) as server, connected(server) as client:
        client.send(say("never whole", path="/elsewhere")[:-3])
        status, headers, body = await client.answer()
        assert (status, headers["content-type"]) == (408, "application/problem+json")
        assert json.loads(body)["code"] == "request_timeout"
        assert await client.at_end()
        await until(lambda: not server.server.server_state.tasks)


async def test_what_comes_in_pieces_and_in_time_is_answered_however_long_that_takes():
    async with lane_server(patience=SHORT) as server, connected(server) as client:
        for path, answer in ((CHAT, "x"), ("/elsewhere", "ordinary POST")):
            request = say("x", path=path)
            for piece in (request[:20], request[20:-3], request[-3:]):
                client.send(piece)
                await asyncio.sleep(0.15)  # the time that passes is what is tested
            assert (await client.said()).startswith(answer)
        request = ask("wait")
        client.send(request[:-3])
        await asyncio.sleep(0.1)
        client.send(request[-3:])
        await asyncio.sleep(0.5)
        server.front.go_on.set()
        assert await client.said() == "at last"


async def test_the_rest_of_a_request_has_its_time_once_the_one_before_is_answered():
    async with lane_server(patience=SHORT) as server, connected(server) as client:
        client.send(ask("wait"), say("never whole")[:40])
        await server.front.came.wait()
        await asyncio.sleep(0.5)
        server.front.go_on.set()
        assert await client.said() == "at last"
        assert (await client.answer())[0] == 408
        assert await client.at_end()


async def test_line_ends_between_requests_keep_no_connection():
    async with lane_server(keep_alive_s=0.3) as server, connected(server) as client:
        client.send(say("x"))
        assert await client.said() == "x"
        client.send(b"\r\n")
        assert await client.at_end()


async def test_a_websocket_is_left_alone_however_long_it_says_nothing():
    async with lane_server(patience=SHORT, keep_alive_s=0.2) as server, connected(server) as client:
        client.send(say("x"))
        assert await client.said() == "x"
        client.send(
            b"GET /socket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert (await client.head())[0] == 101
        await asyncio.sleep(1)  # the time that passes is what is tested
        client.send(b"\x81\x82\0\0\0\0hi")  # a text of two bytes, masked by nothing (RFC 6455, section 5.2)
        async with asyncio.timeout(5):
            assert await client.reader.readexactly(4) == b"\x81\x02hi"
