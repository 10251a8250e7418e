"""A client of ``/api/v1/query/ws``, written against the published guide."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from support.public_api import Frame
from support.shapes import EVENTS, PROBLEM, check
from websockets.sync.client import ClientConnection, connect

TIMEOUT_S = 30.0


class QuerySocket:
    """One connection. What came for one ``ref`` is held back while another one is read."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self._held: list[dict[str, Any]] = []

    def send(self, **message: Any) -> None:
        """One message."""
        self.connection.send(json.dumps(message))

    def ask(self, ref: str, message: str, session: str, **more: Any) -> None:
        """A query; ``key`` and ``timeout_ms`` among ``more`` are the envelope's."""
        envelope = {
            name: more.pop(given)
            for name, given in (("idempotency_key", "key"), ("timeout_ms", "timeout_ms"))
            if given in more
        }
        query = {"message": message, "session_id": session, **more}
        self.send(type="query", ref=ref, query=query, **envelope)

    def read(self, ref: str | None) -> dict[str, Any]:
        """The next message for a ``ref``, or the next one without."""
        for held in self._held:
            if held.get("ref") == ref:
                self._held.remove(held)
                return held
        while True:
            found: dict[str, Any] = json.loads(self.connection.recv(timeout=TIMEOUT_S))
            if found.get("ref") == ref:
                return found
            self._held.append(found)

    def events(self, ref: str, after: int = 0) -> Iterator[Frame]:
        """The events of a turn to its last one; numbers follow on ``after`` without a gap."""
        number, kind = after, ""
        while kind not in {"complete", "error"}:
            message = self.read(ref)
            assert message["type"] == "event", message
            number += 1
            assert message["id"] == number, f"event {message['id']} came where {number} was due"
            kind, data = message["event"]["type"], message["event"]["data"]
            check(data, EVENTS[kind], kind)
            yield Frame(number, kind, data)

    def problem(self, ref: str) -> dict[str, Any]:
        """The problem that a message is answered with."""
        message = self.read(ref)
        assert message["type"] == "problem", message
        check(message["problem"], PROBLEM)
        found: dict[str, Any] = message["problem"]
        return found


@contextmanager
def query_socket(url: str, key: str | None = None, **options: Any) -> Iterator[QuerySocket]:
    """A connection to the system at a base URL."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    address = f"ws{url.removeprefix('http')}/api/v1/query/ws"
    with connect(address, additional_headers=headers, proxy=None, **options) as connection:
        yield QuerySocket(connection)
