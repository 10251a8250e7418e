"""The services that imported assistants call: a bank's, which asks for credentials, and a search in a handbook."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

KEY = "hb-key-of-the-tests"
TOKEN = "hb-token-of-the-tests"


class BankBackend:
    """On a free loopback port; a context manager. ``calls`` are those with the right credentials."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, Any]] = []
        calls = self.calls

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                parts = urlsplit(self.path)
                asked = parts.path.strip("/").split("/")
                known = self.headers.get("X-Bank-Key") == KEY or parse_qs(parts.query).get("token") == [TOKEN]
                if not known and asked[0] not in ("rates", "v1"):
                    self._send(401, {"detail": "who are you?"})
                    return
                calls.append((self.command, parts.path, json.loads(body) if body else None))
                self._send(200, self._found(asked))

            def _found(self, asked: list[str]) -> Any:
                if asked[0] == "accounts":
                    return {"amount": "120.50", "currency": "EUR", "account": asked[1]}
                if asked[0] == "rates":
                    return {"rate": 1.25, "currency": asked[1].upper()}
                if asked[0] == "v1":
                    return {"hits": [{"body": "The roof was built in 1901.", "heading": "The building"}]}
                return {"reference": "A-17"}

            def _send(self, status: int, answer: Any) -> None:
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = _answer  # noqa: N815 - http.server names them

            def log_message(self, *_words: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Base URL without a slash at its end."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
