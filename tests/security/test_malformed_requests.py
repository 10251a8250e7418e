"""Scenario 27: requests that are lies, too large, too deep, compressed, or no text at all, at every endpoint.

Nothing is answered 5xx, nothing that a header says makes somebody else of the caller, and no process takes more memory
for it than it has for the largest body that it reads.
"""

import gzip
import json
import socket
import zlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from support.public_api import PublicApi, new_session
from support.systems import RunningSystem, publish

from security.treasure import MARK, Operation, Treasure, operations, plant
from signalbox.contracts import headers as names

AT_ONCE = 4
MIB = 1_048_576
GROWTH = 96 * MIB
"""Memory that a process may take beyond what it had: some of the largest bodies at once, and what Python keeps."""

LIES = {
    **{value: "globex" for name, value in vars(names).items() if name.isupper() and name != "TIMEOUT_MS"},
    "signalbox-tenant": "acme",
    "signalbox-principal": '{"tenant":"acme","subject":"key:x","scopes":["service"]}',
    "signalbox-scopes": "service keys:write",
    "signalbox-subject": "key:operator",
    "signalbox-service": "admin",
    "x-forwarded-user": "root",
    "x-forwarded-for": "127.0.0.1",
    "x-forwarded-host": "admin",
    "x-real-ip": "127.0.0.1",
    "x-original-url": "/internal/v1/admin/changes",
    "x-rewrite-url": "/internal/v1/admin/changes",
    "x-http-method-override": "DELETE",
    "x-tenant-id": "acme",
    "forwarded": "for=127.0.0.1;host=admin",
}


@pytest.fixture(scope="module")
def treasure(system: RunningSystem, admin_client: PublicApi) -> Treasure:
    assert system.local
    return plant(system, admin_client)


@pytest.fixture
def small_memory(system: RunningSystem) -> Iterator[None]:
    """Fails what makes a process of the system grow."""
    before = memory(system)
    yield
    grown = {pid: (now - before[pid]) // MIB for pid, now in memory(system).items() if pid in before}
    print(f"27 {system.shape}: the process that grew most by {max(grown.values())} MiB")
    assert max(grown.values()) * MIB < GROWTH, grown


def memory(system: RunningSystem) -> dict[int, int]:
    """Resident bytes of every process of the system's services."""
    urls = system.service_urls().values() or [system.url]
    ports = {urlsplit(url).port for url in urls}
    listening = {
        connection.pid
        for connection in psutil.net_connections("tcp4")
        if connection.status == "LISTEN" and connection.laddr.port in ports and connection.pid
    }
    assert listening, "no process listens where the system is"
    return {pid: psutil.Process(pid).memory_info().rss for pid in listening}


def alive(system: RunningSystem, api: PublicApi) -> None:
    assert api.query("hello")["status"] in {"success", "clarify", "degraded"}
    for url in (system.service_urls() or {"": system.url}).values():
        answer = PublicApi(url, None).http.get("/ready")
        assert answer.status_code == 200, f"{url}: {answer.text}"


def test_headers_make_nobody_else_of_the_caller(
    system: RunningSystem, other: PublicApi, treasure: Treasure
) -> None:
    mine = other.call("GET", "/api/v1/health")["config_hash"]
    bases = {system.url, *system.service_urls().values()}
    tried = 0
    for name, value in LIES.items():
        # At the edge, which takes some away, and past it, where nothing may depend on that.
        for base in bases:
            for path in (
                f"/api/v1/session/{treasure.ids['session_id']}",
                f"/llm/v1/responses/{treasure.ids['response_id']}",
            ):
                answer = other.http.get(base + path, headers={name: value})
                assert answer.status_code == 404, (
                    f"{name} at {base}: {answer.status_code} {answer.text[:200]}"
                )
                assert MARK not in answer.text
                tried += 1
            answer = other.http.post(base + "/internal/v1/tools/call", headers={name: value}, json={})
            assert answer.status_code in {401, 403, 404}, f"{name}: {answer.status_code}"
        assert other.http.get("/api/v1/health", headers={name: value}).json()["config_hash"] == mine, name
    everything = other.http.get(f"/api/v1/session/{treasure.ids['session_id']}", headers=LIES)
    assert everything.status_code == 404
    print(f"27 {system.shape}: {tried} requests with headers that name somebody else, none believed")


@cache
def bomb(mebibytes: int) -> bytes:
    """So many zeros in a thousandth of their size."""
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(b"0" * MIB) for _ in range(mebibytes)) + packer.flush()


def bad_bodies(fitting: Any) -> Iterator[tuple[str, bytes, dict[str, str]]]:
    """What is wrong, the bytes, and headers of their own."""
    plain = json.dumps(fitting).encode()
    yield "deep lists", b'{"message":' + b"[" * 100_000 + b"]" * 100_000 + b"}", {}
    yield "deep objects", b'{"a":' * 60_000 + b"1" + b"}" * 60_000, {}
    yield "half of it", plain[: len(plain) // 2], {}
    yield "no UTF-8", plain.replace(b'"', b'\xff\xfe"', 1), {}
    yield "no UTF-8 in a text", plain.replace(b"what", b"wh\xc3\x28"), {}
    yield "NUL", plain.replace(b"what", b"wh\\u0000t\\u0000"), {}
    yield "bare NUL", plain + b"\0", {}
    yield "half a surrogate", plain.replace(b"what", b"\\ud800"), {}
    yield "UTF-16", json.dumps(fitting).encode("utf-16"), {}
    yield "a number of a thousand digits", plain.replace(b"what", b"9" * 1000) + b"", {}
    yield "numbers that are none", b'{"message": NaN, "session_id": Infinity, "limit": -Infinity}', {}
    yield "a huge number", b'{"message": 1e999999, "n": ' + b"9" * 5_000 + b"}", {}
    yield "a name twice", b'{"session_id":"a","session_id":"b","message":"x","message":"y"}', {}
    yield "many names", json.dumps({f"n{number}": 1 for number in range(20_000)}).encode(), {}
    yield "nothing", b"", {}
    yield "null", b"null", {}
    yield "gzip", gzip.compress(plain), {"Content-Encoding": "gzip"}
    yield "a bomb", bomb(64), {"Content-Encoding": "gzip"}
    yield (
        "a bomb in a bomb",
        gzip.compress(bomb(64), 9),
        {"Content-Encoding": "gzip, gzip"},
    )
    yield "another type", plain, {"Content-Type": "text/plain"}
    yield "a form", b"message=x&session_id=y", {"Content-Type": "application/x-www-form-urlencoded"}
    yield (
        "XML",
        b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
        {"Content-Type": "application/xml"},
    )
    yield "too much", b'{"message":"' + b"x" * (2 * MIB) + b'"}', {}


@pytest.mark.usefixtures("small_memory")
def test_no_body_breaks_an_endpoint(system: RunningSystem, other: PublicApi, treasure: Treasure) -> None:
    taking = [op for op in operations(system) if not op.internal and op.body(treasure) is not None]
    assert len(taking) >= 18, "it does not walk the whole interface"
    work = [(op, *bad) for op in taking for bad in bad_bodies(op.body(treasure))]

    def one(item: tuple[Operation, str, bytes, dict[str, str]]) -> int:
        operation, what, body, headers = item
        answer = other.http.request(
            operation.method,
            treasure.fill(operation.path),
            content=body,
            headers={"Content-Type": "application/json", **headers},
        )
        where = f"{operation.method} {operation.path} with {what}: {answer.status_code} {answer.text[:200]}"
        assert answer.status_code < 500, where
        assert "root:" not in answer.text, where
        assert what != "too much" or answer.status_code in {400, 413, 422}, where
        return answer.status_code

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = Counter(pool.map(one, work))
    for kind in ("limits", "budgets"):
        other.http.delete(treasure.fill(f"/llm/v1/{kind}/{{{kind[:-1]}_name}}"))
    alive(system, other)
    print(f"27 {system.shape}: {sum(answers.values())} bad bodies, answered {dict(sorted(answers.items()))}")


def raw(url: str, data: list[bytes], wait: float = 5.0) -> bytes:
    """What a server answers to bytes as they are, until it closes or says nothing more."""
    parts = urlsplit(url)
    received = b""
    with closing(socket.create_connection((parts.hostname, parts.port), wait)) as connection:
        connection.settimeout(wait)
        with suppress(OSError):
            for piece in data:
                connection.sendall(piece)
        with suppress(OSError):
            while piece := connection.recv(65_536):
                received += piece
                if b"\r\n\r\n" in received and b"chunked" not in received.lower():
                    break
    return received


def raw_requests(key: str) -> Iterator[tuple[str, list[bytes]]]:
    head = b"Host: a\r\nAuthorization: Bearer " + key.encode() + b"\r\n"
    get = b"GET /api/v1/tasks HTTP/1.1\r\n" + head
    post = b"POST /api/v1/query HTTP/1.1\r\n" + head + b"Content-Type: application/json\r\n"
    yield "a header of 4 MiB", [get + b"X-A: " + b"a" * (4 * MIB) + b"\r\n\r\n"]
    yield "100,000 headers", [get + b"".join(b"X-%d: 1\r\n" % n for n in range(100_000)) + b"\r\n"]
    yield "an address of 2 MiB", [b"GET /api/v1/task/" + b"a" * (2 * MIB) + b" HTTP/1.1\r\n" + head + b"\r\n"]
    yield "NUL in a header", [get + b"X-A: a\0b\r\n\r\n"]
    yield "NUL in a path", [b"GET /api/v1/task/a\0b HTTP/1.1\r\n" + head + b"\r\n"]
    yield (
        "NUL in a path, encoded",
        [b"GET /api/v1/task/a%00b HTTP/1.1\r\n" + head + b"Connection: close\r\n\r\n"],
    )
    yield (
        "no UTF-8 in a path",
        [b"GET /api/v1/task/%ff%fe HTTP/1.1\r\n" + head + b"Connection: close\r\n\r\n"],
    )
    yield (
        "no UTF-8 in a query",
        [b"GET /api/v1/tasks?before=%ff HTTP/1.1\r\n" + head + b"Connection: close\r\n\r\n"],
    )
    yield "no UTF-8 in a header", [get + b"Idempotency-Key: \xff\xfe\r\nConnection: close\r\n\r\n"]
    yield "two lengths", [post + b"Content-Length: 5\r\nContent-Length: 50\r\n\r\n{}   "]
    yield (
        "a length and chunks",
        [
            post
            + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            + b"GET /internal/v1/x HTTP/1.1\r\nHost: a\r\n\r\n"
        ],
    )
    yield "a negative length", [post + b"Content-Length: -1\r\n\r\n{}"]
    yield "a length that is none", [post + b"Content-Length: 0x10\r\n\r\n{}"]
    yield "a huge length", [post + b"Content-Length: 99999999999999999999\r\n\r\n{}"]
    yield "a folded header", [get + b"X-A: a\r\n b\r\nConnection: close\r\n\r\n"]
    yield "space before a colon", [get + b"Authorization : Bearer x\r\n\r\n"]
    yield "another encoding", [post + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"]
    yield (
        "chunks of a strange size",
        [post + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx\r\n0\r\n\r\n"],
    )
    yield (
        "endless chunks",
        [post + b"Transfer-Encoding: chunked\r\n\r\n", *[b"10000\r\n" + b"x" * 65_536 + b"\r\n"] * 64],
    )
    yield "no version", [b"GET /api/v1/tasks\r\n\r\n"]
    yield "another version", [b"GET /api/v1/tasks HTTP/9.9\r\n" + head + b"\r\n"]
    yield "a strange method", [b"G{ET /api/v1/tasks HTTP/1.1\r\n" + head + b"\r\n"]
    yield "a tunnel", [b"CONNECT 127.0.0.1:1 HTTP/1.1\r\n" + head + b"\r\n"]
    yield "a whole URL", [b"GET http://127.0.0.1:1/x HTTP/1.1\r\n" + head + b"Connection: close\r\n\r\n"]
    yield "TLS", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"]
    yield "another protocol", [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
    yield "two requests in one", [get + b"\r\n" + get + b"Connection: close\r\n\r\n"]


@pytest.mark.usefixtures("small_memory")
def test_no_bytes_break_a_process(system: RunningSystem, other: PublicApi) -> None:
    answers: Counter[str] = Counter()
    assert other.key
    work = [
        (base, *item)
        for base in {system.url, *system.service_urls().values()}
        for item in raw_requests(other.key)
    ]

    def one(item: tuple[str, str, list[bytes]]) -> str:
        base, what, data = item
        received = raw(base, data)
        status = received[9:12].decode("latin-1") if received.startswith(b"HTTP/") else "closed"
        # 501 and 505 are what RFC 9112 asks a server to say of an encoding and of a version that it does not know.
        assert status in {"closed", "501", "505"} or int(status) < 500, (
            f"{what} at {base}: {received[:300]!r}"
        )
        assert received.count(b"HTTP/1.1 ") < 3, (
            f"{what} at {base} was more requests than it is: {received[:600]!r}"
        )
        return status

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers.update(pool.map(one, work))
    alive(system, other)
    print(f"27 {system.shape}: {len(work)} raw requests, answered {dict(sorted(answers.items()))}")


@pytest.mark.usefixtures("small_memory")
def test_a_backend_that_answers_with_a_bomb_is_cut_off(
    system: RunningSystem, admin_client: PublicApi
) -> None:
    sent = bomb(256)

    class Bombs(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(sent)

        def log_message(self, *_words: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Bombs)
    Thread(target=server.serve_forever, daemon=True).start()
    workflow = new_session("wf")
    tool = {
        "id": "bomb",
        "request": {"url": f"http://127.0.0.1:{server.server_address[1]}/"},
        "retry": {"attempts": 1},
    }
    intent = {"id": "go", "when": {"patterns": ["^go$"]}, "then": {"tool": "bomb"}}
    publish(admin_client, {"workflow_id": workflow, "name": "Bomb", "tools": [tool], "intents": [intent]})
    with ThreadPoolExecutor(AT_ONCE) as pool:
        replies = list(pool.map(lambda _: admin_client.query("go", workflow_id=workflow), range(8)))
    server.shutdown()
    server.server_close()
    assert {reply["status"] for reply in replies} <= {"error", "degraded"}, replies[0]
    alive(system, admin_client)
