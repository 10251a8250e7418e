"""Load that runs through a fault: sessions of mixed turns, clients that retry, and what became of every message.

    with TurnLoad(url, backend, turns=600) as load:
        load.wait_for(more_acknowledged=100)
        ...  # break something
    load.verify("kill -9 of flows").check()

`publish_load` publishes the workflow that it speaks to.
"""

import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count, pairwise
from typing import Any, Self

import httpx
from support.keyed_backend import KeyedBackend
from support.load_figures import Exchange, Figures, Sent, compare
from support.load_workflow import WORKFLOW_ID, Kind, effects_of, load_document
from support.public_api import Problem, PublicApi, new_session, read_frames
from support.systems import publish

MIX = (Kind.SAY, Kind.WRITE, Kind.STREAM, Kind.SAY, Kind.AGENT, Kind.SAY, Kind.WRITE, Kind.ASYNC)
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0
_SETTLE_S = 90.0
_TASK_OVER = {"success", "failed", "cancelled"}


def publish_load(url: str, backend: KeyedBackend, key: str | None = None) -> None:
    """Publish the workflow of the load, whose writes go to the backend. Raises Problem."""
    api = PublicApi(url, key)
    try:
        publish(api, load_document(backend.url))
    finally:
        api.close()


class TurnLoad:
    """Customers who talk at a bounded rate while the block runs, and until ``turns`` messages have been sent.

    A session's messages are of the kinds of ``mix``, in that order, each sent when the one before was acknowledged or
    given up. What is not acknowledged is sent again under the same Idempotency-Key, for ``give_up_s``; each attempt
    has ``try_ms``. ``rate`` is messages per second of all ``customers`` together.
    """

    def __init__(
        self,
        url: str,
        backend: KeyedBackend,
        *,
        turns: int,
        rate: float = 100.0,
        customers: int = 8,
        mix: Sequence[Kind] = MIX,
        key: str | None = None,
        try_ms: int = 5_000,
        give_up_s: float = 90.0,
    ) -> None:
        self._url, self._backend, self._key = url, backend, key
        self._turns, self._rate, self._mix = turns, rate, tuple(mix)
        self._try_ms, self._give_up_s = try_ms, give_up_s
        self._enough, self._stop = threading.Event(), threading.Event()
        self._changed = threading.Condition()
        self._next_at = 0.0
        self._times: list[float] = []
        self._tasks: dict[str, Sent] = {}
        self.sent: list[Sent] = []
        self.attempts = 0
        self.acknowledged = 0
        self.refusals: list[str] = []
        """What attempts ended with that were not acknowledged."""
        self._threads = [threading.Thread(target=self._talk, daemon=True) for _ in range(customers)]

    def wait_for(self, *, more_acknowledged: int = 0, more_attempts: int = 0, timeout: float = 60.0) -> None:
        """Return when so many more messages have been acknowledged, and so many more attempts have ended."""
        with self._changed:
            acknowledged = self.acknowledged + more_acknowledged
            attempts = self.attempts + more_attempts
            reached = self._changed.wait_for(
                lambda: self.acknowledged >= acknowledged and self.attempts >= attempts, timeout
            )
        assert reached, (
            f"{self.acknowledged} of {acknowledged} acknowledged, {self.attempts} of {attempts} attempts in "
            f"{timeout:g} s; last refusals: {self.refusals[-3:]}"
        )

    @property
    def going(self) -> bool:
        """Whether fewer than ``turns`` messages have been sent."""
        return len(self.sent) < self._turns

    def __enter__(self) -> Self:
        """Start."""
        self._times = [time.monotonic()]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: object, *_exc: object) -> None:
        """Let every customer finish; when the test has failed already, only the message that it is at."""
        self._enough.set()
        if kind is not None:
            self._stop.set()
        for thread in self._threads:
            thread.join()
        self._times.append(time.monotonic())

    def verify(self, name: str) -> Figures:
        """What became of every message, by the stored history and the backend, once all is whole; prints a line."""
        api = PublicApi(self._url, self._key)
        try:
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(lambda item: _settle(api, *item), self._tasks.items()))
                sessions = list(dict.fromkeys(message.session for message in self.sent))
                histories = dict(
                    zip(sessions, pool.map(lambda item: _history(api, item), sessions), strict=True)
                )
        finally:
            api.close()
        times = sorted(self._times)
        figures = replace(
            compare(self.sent, histories, effects_of(self._backend)),
            attempts=self.attempts,
            longest_gap_s=max(later - earlier for earlier, later in pairwise(times)),
            seconds=times[-1] - times[0],
        )
        sys.stdout.write(f"\n{figures.line(name)}\n")
        return figures

    def _talk(self) -> None:
        with self._client() as client:
            while not self._stop.is_set():
                session = new_session("load")
                for number, kind in enumerate(self._mix):
                    message = Sent(session, f"{kind.value}-{session}-{number}", kind)
                    if self._stop.is_set() or not self._take_turn(message):
                        return
                    self._say(client, message)

    def _client(self) -> httpx.Client:
        headers = {"Signalbox-Timeout-Ms": str(self._try_ms)}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        return httpx.Client(
            base_url=self._url, headers=headers, timeout=self._try_ms / 1000 + 2, trust_env=False
        )

    def _take_turn(self, message: Sent) -> bool:
        """Wait for the rate to let a message go; whether there are more to send."""
        with self._changed:
            if not self.going and self._enough.is_set():
                return False
            self.sent.append(message)
            at = self._next_at = max(self._next_at, time.monotonic()) + 1 / self._rate
        time.sleep(max(0.0, at - time.monotonic()))  # pacing; nothing waits on it
        return True

    def _say(self, client: httpx.Client, message: Sent) -> None:
        attempt = _Attempts(client, message)
        give_up, pause = time.monotonic() + self._give_up_s, _FIRST_PAUSE_S
        for _ in count():
            try:
                attempt.once()
                refusal = ""
            except (httpx.HTTPError, Problem, _NotYet) as error:
                refusal = message.refusal = repr(error)
            with self._changed:
                self.attempts += 1
                if refusal:
                    self.refusals.append(refusal)
                else:
                    message.acknowledged = True
                    self.acknowledged += 1
                    self._times.append(time.monotonic())
                    if attempt.task_id:
                        self._tasks[attempt.task_id] = message
                self._changed.notify_all()
            if not refusal or time.monotonic() > give_up or self._stop.is_set():
                return
            time.sleep(pause)  # a customer's patience; nothing waits on it
            pause = min(pause * 2, _LONGEST_PAUSE_S)


class _NotYet(Exception):
    """An answer that acknowledges nothing."""


class _Attempts:
    """Attempts at one message, all under one key."""

    def __init__(self, client: httpx.Client, message: Sent) -> None:
        self._client, self._message = client, message
        self._headers = {"Idempotency-Key": new_session("key")}
        self._body = {"message": message.text, "session_id": message.session, "workflow_id": WORKFLOW_ID}
        self.task_id = ""

    def once(self) -> None:
        """One attempt. Raises httpx.HTTPError, Problem or _NotYet when it acknowledges nothing."""
        if self._message.kind is Kind.STREAM:
            self._stream()
        elif self._message.kind is Kind.ASYNC:
            self.task_id = self._post("/api/v1/query/async", 202)["task_id"]
        else:
            self._told(self._post("/api/v1/query", 200))

    def _post(self, path: str, expected: int) -> dict[str, Any]:
        response = self._client.post(path, json=self._body, headers=self._headers)
        if response.status_code != expected:
            # Not a Problem: a proxy whose server is gone answers in its own words.
            raise _NotYet(f"{response.status_code} {response.text[:200]}")
        found: dict[str, Any] = response.json()
        return found

    def _told(self, reply: dict[str, Any]) -> None:
        self._message.answer, self._message.status = reply["message"], reply["status"]

    def _stream(self) -> None:
        """Lose the stream after its first event, then resume it from there."""
        with self._client.stream(
            "POST", "/api/v1/query/stream", json=self._body, headers=self._headers
        ) as response:
            first = next(_frames(response), None)
        if first is not None and first.type == "complete":
            # The turn was over when it was asked for again.
            self._told(first.data)
            return
        if first is None or first.type != "start":
            raise _NotYet(f"the stream began with {first}")
        path = f"/api/v1/turn/{first.data['turn_id']}/events"
        with self._client.stream("GET", path, params={"after": str(first.id)}) as response:
            last = [first, *_frames(response, first.id)][-1]
        if last.type != "complete":
            raise _NotYet(f"the stream ended with {last}")
        self._told(last.data)


def _frames(response: httpx.Response, after: int = 0) -> Any:
    if response.status_code != 200:
        response.read()
        raise _NotYet(f"{response.status_code} {response.text[:200]}")
    return read_frames(response, after)


def _settle(api: PublicApi, task_id: str, message: Sent) -> None:
    """Wait for the end of an async query, and note its answer."""
    deadline = time.monotonic() + _SETTLE_S
    while time.monotonic() < deadline:
        try:
            view = api.call("GET", f"/api/v1/task/{task_id}")
        except (httpx.HTTPError, Problem, AssertionError) as error:
            message.status = repr(error)
        else:
            message.status = view["status"]
            if message.status == "success":
                message.answer, message.status = view["result"]["message"], view["result"]["status"]
            elif message.status == "failed":
                message.status = f"failed: {view['error']}"
            if view["status"] in _TASK_OVER:
                return
        time.sleep(0.1)  # between two looks


def _history(api: PublicApi, session: str) -> list[Exchange]:
    """The stored messages of a session, empty where there is none."""
    deadline = time.monotonic() + _SETTLE_S
    while True:
        try:
            return api.history(session)
        except Problem as problem:
            if problem.status == 404:
                return []
            if time.monotonic() > deadline:
                raise
        except (httpx.HTTPError, OSError):
            if time.monotonic() > deadline:
                raise
        time.sleep(0.2)  # between two looks
