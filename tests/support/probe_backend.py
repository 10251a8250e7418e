"""A small HTTP backend that answers as its path says and remembers what it was asked."""

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Received:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: str


@dataclass
class _State:
    requests: list[Received] = field(default_factory=list)
    gates: dict[str, threading.Event] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


class ProbeBackend:
    """On a free loopback port; a context manager.

    ``/status/N`` answers with status N, ``/malformed`` with JSON that is none, ``/big/N`` with N bytes,
    ``/gate/NAME`` when `open_gate` is called (or after 30 s), everything else with what it received.
    """

    def __init__(self) -> None:
        self._state = state = _State()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length).decode()
                path = urlsplit(self.path).path
                headers = {name.lower(): value for name, value in self.headers.items()}
                with state.lock:
                    state.requests.append(Received(self.command, self.path, headers, body))
                status, data = _reply(state, path, self.command, body)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            do_HEAD = do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _answer  # noqa: N815 - http.server names them

            def log_message(self, *_words: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # a client that leaves is what some tests are about

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Base URL without a slash at its end."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def last(self) -> Received:
        """The request that came last."""
        with self._state.lock:
            return self._state.requests[-1]

    def received(self, path: str) -> list[Received]:
        """Requests of this path so far, oldest first."""
        with self._state.lock:
            return [item for item in self._state.requests if urlsplit(item.path).path == path]

    def open_gate(self, name: str) -> None:
        """Let the requests to ``/gate/NAME`` be answered."""
        self._gate(name).set()

    def _gate(self, name: str) -> threading.Event:
        with self._state.lock:
            return self._state.gates.setdefault(name, threading.Event())

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        """Stop."""
        for gate in list(self._state.gates.values()):
            gate.set()
        self._server.shutdown()
        self._server.server_close()


def _reply(state: _State, path: str, method: str, body: str) -> tuple[int, bytes]:
    kind, _, value = path.strip("/").partition("/")
    if kind == "status":
        return int(value), json.dumps({"detail": f"as you asked: {value}"}).encode()
    if kind == "malformed":
        return 200, b'{"half": '
    if kind == "big":
        return 200, json.dumps({"filler": "x" * int(value)}).encode()
    if kind == "gate":
        with state.lock:
            gate = state.gates.setdefault(value, threading.Event())
        gate.wait(30)
    return 200, json.dumps({"path": path, "method": method, "body": body}).encode()
