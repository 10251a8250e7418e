"""What must never be called: a listener at addresses that no system under test may reach, and a way there."""

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class Canary:
    """Listens on 127.0.0.2 and on ::1, which are not allowed, and counts who connects; a context manager.

    ``redirect`` is the URL of a server on 127.0.0.1, which is allowed, that sends whoever asks to the canary.
    """

    def __init__(self) -> None:
        self.connections = 0
        self._sockets = [socket.socket(socket.AF_INET), socket.socket(socket.AF_INET6)]
        self._sockets[0].bind(("127.0.0.2", 0))
        self.port: int = self._sockets[0].getsockname()[1]
        self._sockets[1].bind(("::1", self.port))
        canary = f"http://127.0.0.2:{self.port}/stolen"

        class Redirects(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                self.send_response(302 if self.command == "GET" else 307)
                self.send_header("Location", canary)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST = _answer  # noqa: N815 - http.server names them

            def log_message(self, *_words: Any) -> None:
                pass

        self._redirects = ThreadingHTTPServer(("127.0.0.1", 0), Redirects)
        self.redirect = f"http://127.0.0.1:{self._redirects.server_address[1]}/go"

    def urls(self) -> list[str]:
        """The canary's address in the spellings of which some software reads it, and other places inside."""
        port = self.port
        return [
            f"http://127.0.0.2:{port}/",
            f"http://[::1]:{port}/",
            f"http://[::ffff:127.0.0.2]:{port}/",
            f"http://[::ffff:7f00:2]:{port}/",
            f"http://[::127.0.0.2]:{port}/",
            f"http://[64:ff9b::7f00:2]:{port}/",
            f"http://2130706434:{port}/",
            f"http://0x7f000002:{port}/",
            f"http://0177.0.0.2:{port}/",
            f"http://127.2:{port}/",
            f"http://127.0.0.2.:{port}/",
            f"http://①②⑦.0.0.2:{port}/",
            f"http://127.0.0.1@127.0.0.2:{port}/",
            f"http://127.0.0.1:80@127.0.0.2:{port}/",
            f"http://127.0.0.1%2f@127.0.0.2:{port}/",
            f"http://127.0.0.1%00.127.0.0.2:{port}/",
            f"http://127.0.0.2:{port}\\@127.0.0.1/",
            f"http://127.0.0.2:{port}#@127.0.0.1/",
            "http://169.254.169.254/latest/meta-data/",
            "http://[fd00:ec2::254]/latest/meta-data/",
            "http://0.0.0.0:80/",
            "http://10.0.0.1/",
            "file:///etc/passwd",
            "gopher://127.0.0.2:6379/_FLUSHALL",
            f"ftp://127.0.0.2:{port}/",
            f"//127.0.0.2:{port}/",
            self.redirect,
        ]

    def __enter__(self) -> Self:
        """Start to listen."""
        for listening in self._sockets:
            listening.listen()
            threading.Thread(target=self._count, args=(listening,), daemon=True).start()
        threading.Thread(target=self._redirects.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_exc: object) -> None:
        """Stop."""
        self._redirects.shutdown()
        self._redirects.server_close()
        for listening in self._sockets:
            listening.close()

    def _count(self, listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            self.connections += 1
            connection.close()
