"""Light load that does not give up: each message is sent under its own key until it is acknowledged."""

import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from itertools import count
from typing import Any, NamedTuple, Self

import httpx
from support.public_api import PublicApi, new_session

_TRY_MS = 3_000
_PAUSE_S = 0.05
_KINDS = (
    "where is my order {order}?",
    "hello",
    "please track my parcel for order {order}",
    "is XYZ-9999 in stock?",
)


class Figures(NamedTuple):
    """What became of the messages of a load; times in seconds."""

    sent: int
    """Messages, each counted once however often it was tried."""
    acknowledged: int
    lost: int
    """Acknowledged, and not in their session as they were answered."""
    duplicated: int
    """In their session more often than they were sent."""
    attempts: int
    longest_gap_s: float
    """Without any acknowledgement, from the first message to the last."""

    def print(self, scenario: str, **more: object) -> None:
        """One line for the table of `docs/reliability.md`."""
        own = "".join(f", {name.replace('_', ' ')} {value}" for name, value in more.items())
        sys.stdout.write(
            f"\n{scenario}: sent {self.sent}, acknowledged {self.acknowledged}, lost {self.lost}, "
            f"duplicated {self.duplicated}, attempts {self.attempts}, longest gap {self.longest_gap_s:.2f} s{own}\n"
        )


class Traffic:
    """Customers, each with a session of its own, who wait for an answer before they say more.

    A message that is not answered, or answered with a problem, is sent again with the same Idempotency-Key: so
    each must be in its session once, in order, whatever was killed in between. ``orders`` are order numbers to
    return, by one further customer, each once.
    ``kinds`` is what is said in turn, with ``{order}`` for a number and ``{unique}`` for a word that is said once; with
    several ``urls`` each try goes to the next.
    """

    def __init__(
        self,
        url: str,
        *,
        customers: int = 3,
        orders: list[int] | None = None,
        kinds: Sequence[str] = _KINDS,
        urls: Sequence[str] = (),
    ) -> None:
        self._url = url
        self._urls = urls or (url,)
        self._kinds = kinds
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self.acknowledged = 0
        self.attempts = 0
        self._sent = 0
        self._longest_gap_s = 0.0
        self._last_s = 0.0
        self.failures: list[str] = []
        self.said: dict[str, list[tuple[str, str]]] = {}
        self._unanswered: dict[str, int] = {}
        self.returned: dict[int, str] = {}
        self._threads = [threading.Thread(target=self._talk, args=(number,)) for number in range(customers)]
        if orders:
            self._threads.append(threading.Thread(target=self._return, args=(orders,)))

    def wait_for(self, *, more_acknowledged: int = 0, more_attempts: int = 0, timeout: float = 40.0) -> None:
        """Return when so many more messages have been acknowledged, and so many more attempts have ended."""
        with self._changed:
            acknowledged = self.acknowledged + more_acknowledged
            attempts = self.attempts + more_attempts
            reached = self._changed.wait_for(
                lambda: self.acknowledged >= acknowledged and self.attempts >= attempts, timeout
            )
        assert reached, (
            f"{self.acknowledged} of {acknowledged} acknowledged, {self.attempts} of {attempts} attempts in "
            f"{timeout:g} s; last failures: {self.failures[-3:]}"
        )

    def check(self) -> Figures:
        """Every acknowledged message is in its session once and in order, with the answer that was given."""
        figures = self.figures()
        assert (figures.lost, figures.duplicated) == (0, 0), figures
        api = PublicApi(self._url, None)
        for session, expected in self.said.items():
            assert api.history(session)[: len(expected)] == expected, f"session {session}"
        api.close()
        return figures

    def figures(self) -> Figures:
        """The counts, from what the clients were told and what their sessions hold now."""
        api = PublicApi(self._url, None)
        lost = duplicated = 0
        for session, expected in self.said.items():
            kept = api.history(session)
            lost += (Counter(expected) - Counter(kept)).total()
            duplicated += len(kept) // 2 - len(expected) // 2 - self._unanswered.get(session, 0)
        api.close()
        return Figures(
            self._sent, self.acknowledged, lost, max(0, duplicated), self.attempts, self._longest_gap_s
        )

    def __enter__(self) -> Self:
        """Start."""
        self._last_s = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        """Let every customer finish the message that it is at."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _talk(self, number: int) -> None:
        session = new_session("traffic")
        with self._client() as client:
            for turn in count():
                kind = self._kinds[(number + turn) % len(self._kinds)]
                text = kind.format(order=2000 + number * 500 + turn, unique=f"{session[-8:]}-{turn}")
                if self._stop.is_set() or not self._say(client, session, text):
                    return

    def _return(self, orders: list[int]) -> None:
        with self._client() as client:
            for order in orders:
                session = new_session("return")
                if self._stop.is_set() or not self._say(client, session, f"I want to return order {order}"):
                    return
                self.returned[order] = self.said[session][-1][1]

    def _client(self) -> httpx.Client:
        headers = {"Signalbox-Timeout-Ms": str(_TRY_MS)}
        return httpx.Client(headers=headers, timeout=_TRY_MS / 1000 + 2, trust_env=False)

    def _say(self, client: httpx.Client, session: str, text: str) -> bool:
        """Whether the message was acknowledged before the end."""
        key, give_up = new_session("key"), time.monotonic() + 60
        with self._changed:
            self._sent += 1
        while time.monotonic() < give_up:
            reply = self._try(client, {"message": text, "session_id": session}, key)
            with self._changed:
                self.attempts += 1
                if reply is not None:
                    self.acknowledged += 1
                    now = time.monotonic()
                    self._longest_gap_s = max(self._longest_gap_s, now - self._last_s)
                    self._last_s = now
                    exchange = [("user", text), ("assistant", reply["message"])]
                    self.said.setdefault(session, []).extend(exchange)
                self._changed.notify_all()
            if reply is not None:
                return True
            time.sleep(_PAUSE_S)  # a customer's patience; nothing waits on it
        self.failures.append(f"gave up on {text!r}")
        self._unanswered[session] = self._unanswered.get(session, 0) + 1
        return False

    def _try(self, client: httpx.Client, body: dict[str, str], key: str) -> dict[str, Any] | None:
        try:
            url = self._urls[self.attempts % len(self._urls)]
            answer = client.post(f"{url}/api/v1/query", json=body, headers={"Idempotency-Key": key})
        except httpx.HTTPError as error:
            self.failures.append(repr(error))
            return None
        if answer.status_code == 200:
            found: dict[str, Any] = answer.json()
            return found
        self.failures.append(f"{answer.status_code} {answer.text[:200]}")
        return None
