"""Traefik with the shipped routes, in front of tiny servers that say what reached them."""

import json
import re
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

import httpx
import pytest

from signalbox.contracts import headers as contract_headers
from signalbox_local import LocalError, TraefikServer
from signalbox_local.traefik import CONFIG_DIRECTORY

CHUNK_GAP_SECONDS = 0.2
BODY = b'{"message": "hello"}'


class Backend:
    """An HTTP server on a port of its own that answers every request with its name and what it received."""

    def __init__(self, name: str) -> None:
        self.paths: list[str] = []
        paths = self.paths

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if self.path.endswith("/early"):
                    self.answer_early()
                    return
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                paths.append(self.path)
                if self.path.endswith("/drop"):
                    self.close_connection = True
                    return
                if self.path.endswith("/stream"):
                    self.stream()
                    return
                received = {key.lower(): value for key, value in self.headers.items()}
                body = json.dumps({"backend": name, "path": self.path, "headers": received}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET  # noqa: N815 - the base class names them so

            def stream(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Connection", "close")
                self.end_headers()
                for number in range(3):
                    self.wfile.write(f"data: {number}\n\n".encode())
                    self.wfile.flush()
                    time.sleep(CHUNK_GAP_SECONDS)

            def answer_early(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(b"data: first\n\n")
                self.wfile.flush()
                self.close_connection = True
                if self.rfile.read(int(self.headers["Content-Length"])) == BODY:
                    self.wfile.write(b"data: last\n\n")

            def log_message(self, *_args: object) -> None:
                """Say nothing on the terminal."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(scope="module")
def edge() -> Iterator[httpx.Client]:
    with ExitStack() as stack:
        names = {"workflow": 2, "llm_gateway": 1, "tools": 1, "admin": 1}
        services = {
            name: [stack.enter_context(Backend(f"{name}-{i}")).url for i in range(count)]
            for name, count in names.items()
        }
        server = stack.enter_context(TraefikServer(services))
        yield stack.enter_context(httpx.Client(base_url=server.url, timeout=10))


@pytest.mark.parametrize(
    ("path", "service"),
    [
        ("/api/v1/query", "workflow"),
        ("/api/v1/turn/t1/events", "workflow"),
        ("/api/v1/session/s1/events", "workflow"),
        ("/api/v1/session/s1", "workflow"),
        ("/v1/chat/completions", "workflow"),
        ("/llm/v1/chat/completions", "llm_gateway"),
        ("/mcp/shop", "tools"),
        ("/admin/api/v1/releases", "admin"),
        ("/console", "admin"),
        ("/console/assets/a.js", "admin"),
    ],
)
def test_public_paths_reach_their_service_unchanged(edge: httpx.Client, path: str, service: str) -> None:
    reply = edge.post(path, json={}).json()
    assert reply["backend"].startswith(service + "-")
    assert reply["path"] == path


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/internal/v1/flows/run",
        "/metrics",
        "/live",
        "/ready",
        "/openapi.json",
        "/v1x",
        "/consoles",
        "/llmx",
        "/mcpx",
    ],
)
def test_nothing_else_is_routed(edge: httpx.Client, path: str) -> None:
    assert edge.get(path).status_code == 404


@pytest.mark.parametrize("path", ["/api/v1/../../internal/v1/x", "/api/v1/%2e%2e/%2e%2e/internal/v1/x"])
def test_dots_do_not_lead_out_of_a_route(edge: httpx.Client, path: str) -> None:
    request = edge.build_request("GET", "/")
    request.url = request.url.copy_with(raw_path=path.encode())
    reply = edge.send(request, follow_redirects=True)
    assert reply.status_code == 404


def test_an_encoded_slash_is_refused(edge: httpx.Client) -> None:
    assert edge.get("/api/v1/..%2f..%2finternal").status_code == 400


def test_replicas_share_the_requests(edge: httpx.Client) -> None:
    seen = {edge.get("/api/v1/health").json()["backend"] for _ in range(8)}
    assert seen == {"workflow-0", "workflow-1"}


def test_headers_between_services_are_stripped_and_the_deadline_is_kept(edge: httpx.Client) -> None:
    ours = {
        value
        for name, value in vars(contract_headers).items()
        if name.isupper() and value.startswith("signalbox-")
    }
    spoofable = ours - {contract_headers.TIMEOUT_MS, contract_headers.LLM_COALESCE} | {
        "signalbox-tenant",
        "signalbox-service-token",
    }
    sent = dict.fromkeys(spoofable, "spoofed") | {
        contract_headers.TIMEOUT_MS: "900",
        "authorization": "Bearer x",
        "idempotency-key": "k",
    }
    for path in ("/api/v1/query", "/api/v1/query/streams", "/v1/models", "/llm/v1/models", "/console"):
        received = edge.post(path, headers=sent).json()["headers"]
        assert not spoofable & set(received), path
        assert received[contract_headers.TIMEOUT_MS] == "900"
        assert received["authorization"] == "Bearer x"
        assert received["idempotency-key"] == "k"


@pytest.mark.parametrize("path", ["/api/v1/query/stream", "/llm/stream", "/v1/stream"])
def test_a_stream_arrives_piece_by_piece(edge: httpx.Client, path: str) -> None:
    started = time.monotonic()
    with edge.stream("POST", path, headers={"accept-encoding": "gzip"}) as reply:
        assert "content-encoding" not in reply.headers
        pieces = reply.iter_text()
        first = next(pieces)
        first_after = time.monotonic() - started
        rest = "".join(pieces)
        whole_after = time.monotonic() - started
    assert re.findall(r"data: (\d)", first + rest) == ["0", "1", "2"]
    assert whole_after >= 2 * CHUNK_GAP_SECONDS
    assert first_after < CHUNK_GAP_SECONDS


@pytest.mark.parametrize(
    "path", ["/api/v1/turn/t1", "/v1/chat/completions", "/llm/v1/chat/completions", "/api/v1/query"]
)
def test_a_request_is_passed_on_when_it_is_whole(edge: httpx.Client, path: str) -> None:
    # Else an answer that begins before the edge has seen the end of the request may be cut (golang/go#40747).
    head = (
        f"POST {path}/early HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(BODY)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", edge.base_url.port or 0), timeout=10) as client:
        client.sendall(head.encode() + BODY[:10])
        answered_to_half, _, _ = select.select([client], [], [], 0.5)
        client.sendall(BODY[10:])
        answer = b"".join(iter(lambda: client.recv(65_536), b""))
    assert not answered_to_half
    assert b"data: first" in answer
    assert b"data: last" in answer


def test_nothing_is_sent_twice_and_it_comes_back_on_its_port_after_a_kill() -> None:
    with Backend("a") as backend, TraefikServer({"workflow": backend.url}) as edge:
        address = edge.url
        assert httpx.post(f"{address}/api/v1/drop", json={"message": "once"}).status_code == 502
        assert backend.paths.count("/api/v1/drop") == 1
        edge.kill()
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{address}/api/v1/health")
        edge.restart()
        assert edge.url == address
        assert httpx.get(f"{address}/api/v1/health").json()["backend"] == "a"


def test_a_service_without_a_public_path_is_refused() -> None:
    with pytest.raises(LocalError, match="no public path leads to flows"):
        TraefikServer({"flows": "http://127.0.0.1:1"})


def test_the_shipped_files_are_found() -> None:
    assert (CONFIG_DIRECTORY / "dynamic.yaml").is_file()
