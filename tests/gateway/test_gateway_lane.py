"""What the fast lane does with bytes on a connection, and what it leaves to the ASGI app."""

import asyncio
import ssl

import pytest
import trustme
from support.async_waiting import until
from support.lane_server import CHAT, MAX_BODY_BYTES, ask, connected, lane_server, say

from signalbox.common.auth.keys import create_key
from signalbox.common.web.hosts import OwnHosts
from signalbox.contracts.identity import KeyRecord, Scope
from signalbox.llm_gateway.lane.head import KnownHead

CLOSE = "Connection: close"


async def test_requests_are_answered_one_after_the_other_on_a_connection():
    async with lane_server() as server, connected(server) as client:
        client.send(say("one", headers=["X-Request-Id: mine"]))
        status, headers, body = await client.answer()
        assert (status, body, headers["x-request-id"]) == (200, b"one", "mine")
        assert headers["content-type"] == "text/plain"
        client.send(say("two", path="/llm/v1/embeddings", headers=["X-Request-Id: not an id"]))
        _, headers, body = await client.answer()
        assert (body, headers["x-request-id"][:4]) == (b"two", "req_")
        assert [asked.operation for asked in server.front.asked] == ["chat/completions", "embeddings"]


async def test_pipelined_requests_are_answered_in_order_whoever_answers_them():
    async with lane_server() as server, connected(server) as client:
        client.send(say("one"), say("two"), say("three", path="/llm/v1/models"), say("four"))
        assert await client.said() == "one"
        assert await client.said() == f"ordinary POST {CHAT} 28"
        assert (await client.said()).startswith("ordinary POST /llm/v1/models")
        assert (await client.said()).startswith("ordinary")
        client.send(say("five"))
        assert await client.said() == "five"


async def test_what_comes_while_a_call_is_under_way_waits_for_it():
    async with lane_server() as server, connected(server) as client:
        client.send(ask("wait"))
        await server.front.came.wait()
        client.send(say("later", path="/elsewhere"))
        server.front.go_on.set()
        assert await client.said() == "at last"
        assert (await client.said()).startswith("ordinary POST /elsewhere")


async def test_a_request_in_many_pieces_is_one():
    async with lane_server() as server, connected(server) as client:
        request = say("in pieces")
        for position in range(0, len(request), 7):
            client.send(request[position : position + 7])
            await client.writer.drain()
            await asyncio.sleep(0)
        assert await client.said() == "in pieces"
        assert len(server.front.asked) == 1


async def test_a_head_that_comes_again_is_known_by_its_bytes_and_only_whole_requests_with_it_are():
    async with lane_server() as server, connected(server) as client:
        for text in ("one", "x" * 2000, "", "three"):
            client.send(say(text))
            assert await client.said() == text
        request = say("in two pieces")
        client.send(request[:-5])
        await client.writer.drain()
        client.send(request[-5:])
        assert await client.said() == "in two pieces"
        client.send(say("both"), say("pipelined"))
        assert await client.said() == "both"
        assert (await client.said()).startswith("ordinary POST")
        client.send(say("x" * MAX_BODY_BYTES))
        assert (await client.said()).startswith("ordinary POST")
        client.send(say("other", headers=["X-Request-Id: mine"]))
        _, headers, body = await client.answer()
        assert (body, headers["x-request-id"]) == (b"other", "mine")
        client.send(say("same"))
        _, headers, _ = await client.answer()
        assert headers["x-request-id"] != "mine"


async def test_a_head_that_comes_again_is_refused_when_its_credential_is_no_longer_good():
    key = create_key()
    record = KeyRecord(
        key_id=key.key_id,
        tenant="default",
        name="k",
        secret_sha256=key.secret_sha256,
        scopes=frozenset({Scope.LLM}),
        created_at=0,
    )
    async with lane_server(allow_local=False) as server, connected(server) as client:
        request = say("x", headers=[f"Authorization: Bearer {key.key}"])
        server.keys.replace([record])
        for _ in range(2):
            client.send(request)
            assert await client.said() == "x"
        server.keys.replace([record.model_copy(update={"revoked_at": 1})])
        client.send(request)
        assert (await client.said()).startswith("ordinary POST")
        server.keys.replace([record])
        client.send(request)
        assert await client.said() == "x"


@pytest.mark.parametrize(
    ("length", "body", "found"),
    [
        (b"Content-Length: 12", b"x" * 12, b"x" * 12),
        (b"Content-Length: 0", b"", b""),
        (b"Content-Length: 5", b"x" * 12, None),
        (b"Content-Length: 12", b"x" * 5, None),
        (b"Content-Length: 101", b"x" * 101, None),
        (b"Content-Length: +2", b"xx", None),
        (b"Content-Length: 2 ", b"xx", None),
        (b"Content-Length:  2", b"xx", None),
        (b"Content-Length: 2\r\nX-More: y", b"xx", None),
        (b"content-length: 2", b"xx", None),
    ],
)
def test_a_known_head_differs_in_the_length_of_its_body_only(length, body, found):
    head = KnownHead.of(b"POST / HTTP/1.1\r\nContent-Length: 7\r\nHost: a\r\n\r\n1234567")
    assert head.body_of(b"POST / HTTP/1.1\r\n" + length + b"\r\nHost: a\r\n\r\n" + body, 100) == found


def test_a_head_without_a_plain_length_is_not_known_again():
    assert KnownHead.of(b"POST / HTTP/1.1\r\nContent-Length :7\r\n\r\n1234567") is None
    assert KnownHead.of(b"POST / HTTP/1.1\r\n\r\n\r\nContent-Length: 7\r\n") is None


@pytest.mark.parametrize(
    ("request_bytes", "answered"),
    [
        (say("x", method="PUT"), "ordinary PUT"),
        (say("x", path=f"{CHAT}?a=1"), "ordinary POST"),
        (say("x", path=f"{CHAT}/"), "ordinary POST"),
        (say("x", path="/llm/v1/messages"), "ordinary POST"),
        (say("x", headers=["Signalbox-Timeout-Ms: soon"]), "ordinary POST"),
        (say("x", headers=["Authorization: Bearer sbx_0_0"]), "ordinary POST"),
        (say("x", headers=["Authorization: Bearer a.b.c"]), "ordinary POST"),
        (f"POST {CHAT} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nUpgrade: h2c\r\n"
         "Connection: Upgrade\r\n\r\n".encode(), "ordinary POST"),
        (f"POST {CHAT} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
         "3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n".encode(), f"ordinary POST {CHAT} 7"),
        (f"GET {CHAT} HTTP/1.1\r\nHost: a\r\n\r\n".encode(), "ordinary GET"),
    ],
)  # fmt: skip
async def test_what_is_unusual_is_left_to_the_app(request_bytes, answered):
    async with lane_server() as server, connected(server) as client:
        client.send(request_bytes)
        assert (await client.said()).startswith(answered)
        assert server.front.asked == []


async def test_a_body_over_the_limit_is_left_to_the_app_which_refuses_it():
    async with lane_server() as server, connected(server) as client:
        client.send(say("x" * MAX_BODY_BYTES))
        assert (await client.said()).startswith("ordinary")
        client.send(say("x" * (MAX_BODY_BYTES - 100)))
        assert len(await client.said()) == MAX_BODY_BYTES - 100


async def test_requests_for_another_name_and_without_a_credential_are_left_to_the_app():
    async with lane_server(hosts=OwnHosts(["box.local"])) as server, connected(server) as client:
        request = say("x")
        client.send(request.replace(b"Host: localhost", b"Host: evil.example"), request)
        assert (await client.said()).startswith("ordinary")
        client.send(request.replace(b"Host: localhost", b"Host: box.local:8005"))
        assert (await client.said()).startswith("ordinary")
        client.send(request)
        assert await client.said() == "x"
    async with lane_server(hosts=OwnHosts()) as server, connected(server) as client:
        client.send(say("x", headers=["Origin: https://evil.example"]))
        assert (await client.said()).startswith("ordinary")
    async with lane_server(allow_local=False) as server, connected(server) as client:
        client.send(say("x"))
        assert (await client.said()).startswith("ordinary")


async def test_who_waits_to_be_told_to_continue_is_told():
    async with lane_server() as server, connected(server) as client:
        head, _, body = say("x", headers=["Expect: 100-continue"]).partition(b"\r\n\r\n")
        client.send(head, b"\r\n\r\n")
        assert (await client.head())[0] == 100
        client.send(body)
        assert (await client.said()).startswith("ordinary")


async def test_http_1_0_and_connection_close_end_the_connection():
    async with lane_server() as server:
        async with connected(server) as client:
            client.send(say("x", version="1.0"))
            assert (await client.said()).startswith("ordinary")
            assert await client.at_end()
        async with connected(server) as client:
            client.send(say("bye", headers=[CLOSE]))
            _, headers, body = await client.answer()
            assert (body, headers["connection"]) == (b"bye", "close")
            assert await client.at_end()


@pytest.mark.parametrize("path", [CHAT, "/elsewhere"])
async def test_an_idle_connection_is_ended_after_a_while_and_one_in_use_is_not(path):
    async with lane_server(keep_alive_s=0.3) as server, connected(server) as client:
        for _ in range(3):
            await asyncio.sleep(0.2)  # the time that passes is what is tested
            client.send(say("x", path=path))
            assert (await client.answer())[0] == 200
        client.send(ask("wait"))
        await asyncio.sleep(0.5)
        server.front.go_on.set()
        assert await client.said() == "at last"
        assert await client.at_end()


async def test_a_head_that_is_none_is_400_and_ends_the_connection():
    async with lane_server() as server, connected(server) as client:
        client.send(
            b"POST /llm/v1/chat/completions HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc"
        )
        assert (await client.head())[0] == 400
        assert server.front.asked == []


@pytest.mark.parametrize("do", ["refuse", "say"])
async def test_a_connection_is_used_again_after_an_error(do):
    async with lane_server() as server, connected(server) as client:
        client.send(ask("refuse"))
        status, headers, body = await client.answer()
        assert (status, headers["content-type"]) == (400, "application/json")
        assert b'"code":"bad_request"' in body
        client.send(ask(do, **({"text": "fine"} if do == "say" else {})))
        assert (await client.answer())[0] == (200 if do == "say" else 400)


async def test_a_bug_is_said_in_openais_shape_and_one_in_a_stream_breaks_it_off():
    async with lane_server() as server, connected(server) as client:
        client.send(ask("raise"))
        status, _, body = await client.answer()
        assert (status, b'"code":"internal_error"' in body) == (500, True)
        assert await client.at_end()
        async with connected(server) as other:
            other.send(ask("stream", count=2, size=10, raises=True))
            with pytest.raises((asyncio.IncompleteReadError, ValueError)):
                await other.answer()
        assert 'status="500"' in server.metrics()


@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize("do", ["wait", "stream"])
async def test_a_client_that_leaves_or_says_that_it_sends_no_more_ends_its_call(do, half):
    async with lane_server() as server, connected(server) as client:
        client.send(ask(do, **({"count": 1, "size": 5, "waits": True} if do == "stream" else {})))
        await server.front.came.wait()
        if half:
            client.writer.write_eof()
        else:
            client.writer.close()
        async with asyncio.timeout(2):
            await server.front.left.wait()
        await until(lambda: not server.server.server_state.tasks)
        assert f'status="{200 if do == "stream" else 499}"' in server.metrics()


async def test_a_client_that_leaves_within_its_request_asks_nothing():
    async with lane_server() as server:
        async with connected(server) as client:
            client.send(say("never whole")[:-3])
            await client.writer.drain()
        async with connected(server) as client:
            client.send(say("x"))
            assert await client.said() == "x"
        assert len(server.front.asked) == 1


async def test_a_slow_reader_holds_the_provider_back():
    count, size = 4000, 16_384
    async with lane_server() as server, connected(server) as client:
        client.send(ask("stream", count=count, size=size))
        await client.head()
        made = -1
        while made != server.front.chunks_made:
            made = server.front.chunks_made
            await asyncio.sleep(0.1)
        # What the sockets and the two ends' buffers hold is made, a few MB at most, and nothing more.
        assert 0 < made * size < 16_000_000
        received = 0
        async with asyncio.timeout(20):
            while length := int(await client.reader.readline(), 16):
                received += len(await client.reader.readexactly(length))
                await client.reader.readexactly(2)
        assert (received, server.front.chunks_made) == (count * size, count)


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


async def test_tls_is_spoken_as_ever(authority):
    served, trusting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(served)
    authority.configure_trust(trusting)
    async with lane_server(tls=served) as server, connected(server, trusting) as client:
        client.send(say("in secret"), ask("stream", count=3, size=70_000))
        assert await client.said() == "in secret"
        assert (await client.said()).startswith("ordinary")
        client.send(ask("stream", count=3, size=70_000))
        assert len(await client.said()) == 210_000


async def test_a_server_that_ends_lets_calls_finish():
    async with lane_server() as server, connected(server) as client, connected(server) as idle:
        idle.send(say("x"))
        assert await idle.said() == "x"
        client.send(ask("wait"))
        await server.front.came.wait()
        server.server.should_exit = True
        assert await idle.at_end()
        server.front.go_on.set()
        _, headers, body = await client.answer()
        assert (body, headers["connection"]) == (b"at last", "close")
        assert await client.at_end()


async def test_a_call_that_outlasts_the_servers_end_is_told_and_a_stream_is_not_ended_cleanly():
    async with lane_server(drain_s=1) as server, connected(server) as plain, connected(server) as streamed:
        plain.send(ask("wait"))
        streamed.send(ask("stream", count=1, size=5, waits=True))
        assert (await streamed.head())[0] == 200
        server.server.should_exit = True
        status, _, body = await plain.answer()
        assert (status, b'"code":"unavailable"' in body) == (503, True)
        assert (await streamed.reader.read()) == b"5\r\naaaaa\r\n"


async def test_requests_are_counted_and_traced_under_their_route():
    async with lane_server() as server, connected(server) as client:
        trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
        client.send(say("x", headers=[f"traceparent: 00-{trace_id}-00f067aa0ba902b7-01"]))
        assert await client.said() == "x"
        client.send(ask("refuse"))
        await client.answer()
        labels = f'method="POST",route="{CHAT}",service="llm_gateway"'
        assert f'signalbox_http_requests_total{{{labels},status="200"}} 1.0' in server.metrics()
        assert f'signalbox_http_requests_total{{{labels},status="400"}} 1.0' in server.metrics()
        first = server.tracing.spans()[0]
        assert (first.name, f"{first.context.trace_id:032x}") == (f"POST {CHAT}", trace_id)
        assert first.attributes["http.response.status_code"] == 200
