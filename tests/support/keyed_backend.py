"""A backend of writes that honours ``Idempotency-Key`` or does not, counts what it did, and can hold its answers."""

import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class KeyedBackend:
    """On a free loopback port; a context manager.

    Each POST is an effect, done before it is answered; where keys are honoured, one whose key was seen is none. A GET
    reads.
    """

    def __init__(self, *, honours_keys: bool) -> None:
        self._lock = threading.Lock()
        self._holds: dict[str, threading.Event] = {}
        self._arrived: dict[str, threading.Event] = {}
        self._keys: set[str] = set()
        self.effects: Counter[str] = Counter()
        """How often each path was really done."""
        self.requests: Counter[str] = Counter()
        """How often each path was asked for."""
        backend = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer(write=False)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self._answer(write=True)

            def _answer(self, *, write: bool) -> None:
                path, key = self.path, self.headers.get("Idempotency-Key") or ""
                with backend._lock:
                    backend.requests[path] += 1
                    if write and not (honours_keys and key in backend._keys):
                        backend.effects[path] += 1
                        backend._keys.add(key)
                    hold = backend._holds.pop(path, None)
                if hold is not None:
                    backend._arrived[path].set()
                    hold.wait(30)
                data = json.dumps({"path": path}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_words: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Base URL without a slash at its end."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def hold(self, path: str) -> threading.Event:
        """Hold the answer to the next request of a path until the event that is returned is set."""
        held = threading.Event()
        with self._lock:
            self._arrived[path] = threading.Event()
            self._holds[path] = held
        return held

    def wait_for(self, path: str) -> None:
        """Wait until the request that is held has come."""
        assert self._arrived[path].wait(20), f"nobody asked for {path}"

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
