"""Conditions that tell when a process can be used, each a function of no arguments that returns a bool."""

import http.client
import socket
from collections.abc import Callable
from urllib.parse import urlsplit

from signalbox_local.ports import HOST

Condition = Callable[[], bool]


def answers_http(url: str, *, status: int = 200) -> Condition:
    """True once ``GET url`` answers with ``status`` within a second."""

    def ready() -> bool:
        answer = fetch(url)
        return answer is not None and answer[0] == status

    return ready


def fetch(url: str) -> tuple[int, str] | None:
    """Status and text that ``GET url`` is answered with, ``None`` when no answer comes within a second.

    It takes microseconds where a full client takes milliseconds, and a start polls many times.
    """
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=1.0)
    try:
        connection.request("GET", parts.path or "/")
        reply = connection.getresponse()
        return reply.status, reply.read().decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def accepts_tcp(port: int) -> Condition:
    """True once the loopback ``port`` accepts a connection within a second."""

    def ready() -> bool:
        try:
            socket.create_connection((HOST, port), timeout=1.0).close()
        except OSError:
            return False
        return True

    return ready


def answers_line(port: int, request: bytes, reply_prefix: bytes) -> Condition:
    """True once the loopback ``port`` answers ``request`` with bytes that begin with ``reply_prefix``."""

    def ready() -> bool:
        try:
            with socket.create_connection((HOST, port), timeout=1.0) as connection:
                connection.sendall(request)
                return connection.recv(256).startswith(reply_prefix)
        except OSError:
            return False

    return ready
