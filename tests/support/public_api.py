"""A client of the public API, written against the published guide: every answer is held against its table."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from uuid import uuid4

import httpx
from support.shapes import EVENTS, PROBLEM, QUERY_REPLY, SESSION, TURN, check

TIMEOUT_S = 40.0


class Frame(NamedTuple):
    """One server-sent event of a turn."""

    id: int
    type: str
    data: dict[str, Any]


class Problem(Exception):
    """The server refused; ``body`` is its problem details."""

    def __init__(self, response: httpx.Response) -> None:
        response.read()
        super().__init__(
            f"{response.request.method} {response.request.url}: {response.status_code} {response.text}"
        )
        self.response = response
        self.status = response.status_code
        assert response.headers["content-type"] == "application/problem+json", response.text
        self.body: dict[str, Any] = response.json()
        check(self.body, PROBLEM)
        assert self.body["status"] == self.status
        self.code: str = self.body["code"]


def new_session(prefix: str = "s") -> str:
    """A session id that no other test uses."""
    return f"{prefix}-{uuid4().hex[:16]}"


class PublicApi:
    """Calls as the holder of one API key (or of none, where the installation lets that in)."""

    def __init__(self, url: str, key: str | None) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        limits = httpx.Limits(max_connections=200, max_keepalive_connections=64)
        self.http = httpx.Client(
            base_url=url, headers=headers, timeout=TIMEOUT_S, trust_env=False, limits=limits
        )
        self.url = url
        self.key = key

    def close(self) -> None:
        """Close the connections."""
        self.http.close()

    def call(self, method: str, path: str, **options: Any) -> Any:
        """One call; the JSON of its answer, None for an empty one. Raises Problem."""
        response = self.http.request(method, path, **options)
        if response.status_code >= 400:
            raise Problem(response)
        return response.json() if response.content else None

    def query(self, message: str, session: str | None = None, **more: Any) -> dict[str, Any]:
        """``POST /api/v1/query``; ``key`` among ``more`` is the Idempotency-Key. Raises Problem."""
        headers = {"Idempotency-Key": more.pop("key")} if "key" in more else {}
        body = {"message": message, "session_id": session or new_session(), **more}
        reply = self.call("POST", "/api/v1/query", json=body, headers=headers)
        check(reply, QUERY_REPLY)
        assert reply["session_id"] == body["session_id"]
        found: dict[str, Any] = reply
        return found

    @contextmanager
    def streaming(self, message: str, session: str, **more: Any) -> Iterator[Iterator[Frame]]:
        """``POST /api/v1/query/stream`` as it comes. Raises Problem."""
        headers = {"Idempotency-Key": more.pop("key")} if "key" in more else {}
        body = {"message": message, "session_id": session, **more}
        with self.http.stream("POST", "/api/v1/query/stream", json=body, headers=headers) as response:
            yield read_frames(response)

    def stream(self, message: str, session: str | None = None, **more: Any) -> list[Frame]:
        """The whole stream of one message."""
        with self.streaming(message, session or new_session(), **more) as frames:
            return list(frames)

    @contextmanager
    def resuming(self, turn_id: str, after: int = 0, *, header: bool = False) -> Iterator[Iterator[Frame]]:
        """``GET /api/v1/turn/{turn_id}/events`` after an event, by header or by query. Raises Problem."""
        headers = {"Last-Event-ID": str(after)} if header else {}
        params = {} if header else {"after": str(after)}
        path = f"/api/v1/turn/{turn_id}/events"
        with self.http.stream("GET", path, headers=headers, params=params) as response:
            yield read_frames(response, after)

    def turn(self, turn_id: str) -> dict[str, Any]:
        """``GET /api/v1/turn/{turn_id}``. Raises Problem."""
        view: dict[str, Any] = self.call("GET", f"/api/v1/turn/{turn_id}")
        check(view, TURN)
        if view["reply"] is not None:
            check(view["reply"], QUERY_REPLY)
        return view

    def session(self, session: str, **params: Any) -> dict[str, Any]:
        """``GET /api/v1/session/{session_id}``. Raises Problem."""
        view: dict[str, Any] = self.call("GET", f"/api/v1/session/{session}", params=params)
        check(view, SESSION)
        return view

    def history(self, session: str, user_id: str | None = None) -> list[tuple[str, str]]:
        """Role and text of every message of a session, in order, over all pages."""
        user = {"user_id": user_id} if user_id else {}
        messages: list[dict[str, Any]] = []
        after: int | None = 0
        while after is not None:
            page = self.session(session, after=after, **user)
            messages += page["messages"]
            after = page["next_after"]
        assert [message["seq"] for message in messages] == list(range(1, len(messages) + 1))
        return [(message["role"], message["text"]) for message in messages]

    def problem(self, method: str, path: str, **options: Any) -> Problem:
        """The problem that a call is answered with; an AssertionError when it is not refused."""
        response = self.http.request(method, path, **options)
        assert response.status_code >= 400, f"{method} {path} was not refused: {response.text[:300]}"
        return Problem(response)


def read_frames(response: httpx.Response, after: int = 0) -> Iterator[Frame]:
    """The events of a stream, each held against the table; ids follow on ``after`` without a gap."""
    if response.status_code >= 400:
        raise Problem(response)
    assert response.headers["content-type"].startswith("text/event-stream")
    number, fields = after, {}
    for line in response.iter_lines():
        name, _, value = line.partition(": ")
        assert name != "event", "frames have no event name: clients read the type in the data"
        if name:
            fields[name] = value
        elif "data" in fields:
            number += 1
            assert int(fields["id"]) == number, f"frame {fields['id']} came where {number} was due"
            event = json.loads(fields["data"])
            assert set(event) == {"type", "data"}
            check(event["data"], EVENTS[event["type"]], event["type"])
            yield Frame(number, event["type"], event["data"])
            fields = {}


def text_of(frames: list[Frame]) -> str:
    """All text deltas, joined."""
    return "".join(frame.data["delta"] for frame in frames if frame.type == "text")
