"""What the provider remembers of each request, for assertions."""

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(slots=True)
class RequestRecord:
    """One received request and what became of it.

    ``started_at`` is Unix time in seconds; the other times are milliseconds since then. ``rule`` is the name
    of the rule that answered, empty for the default answer. ``chunks_sent`` counts pieces of the answer,
    without role and finish chunks. ``disconnected`` says that the client left before the answer was
    complete; ``cut`` that the provider broke it off; ``open`` that it is still being answered.
    """

    id: int
    method: str
    path: str
    headers: dict[str, str]
    body: Any
    started_at: float
    rule: str = ""
    status: int | None = None
    chunks_sent: int = 0
    first_byte_ms: float | None = None
    duration_ms: float | None = None
    disconnected: bool = False
    cut: bool = False
    open: bool = True

    @property
    def model(self) -> str | None:
        """The model that was asked for."""
        return self.body.get("model") if isinstance(self.body, Mapping) else None

    def elapsed_ms(self) -> float:
        """Milliseconds since the request began."""
        return (time.time() - self.started_at) * 1000


class Journal:
    """The newest requests, how many are open, and the most that were open at once."""

    def __init__(self, limit: int = 10_000) -> None:
        """Keep the newest ``limit`` requests."""
        self.requests: deque[RequestRecord] = deque(maxlen=limit)
        self.total = 0
        self.open = 0
        self.peak_open = 0

    def begin(self, method: str, path: str, headers: dict[str, str], body: Any) -> RequestRecord:
        """Note a request that has been received whole."""
        self.total += 1
        self.open += 1
        self.peak_open = max(self.peak_open, self.open)
        record = RequestRecord(self.total, method, path, headers, body, time.time())
        self.requests.append(record)
        return record

    def end(self, record: RequestRecord) -> None:
        """Note that a request has been answered or given up."""
        record.open = False
        record.duration_ms = record.elapsed_ms()
        self.open -= 1

    def forget(self) -> None:
        """Drop what has been received; requests still open stay counted."""
        self.requests.clear()
        self.total = 0
        self.peak_open = self.open

    def snapshot(self, after: int = 0) -> dict[str, Any]:
        """The journal as JSON, with the requests whose id is greater than ``after``."""
        return {
            "total": self.total,
            "open": self.open,
            "peak_open": self.peak_open,
            "requests": [asdict(record) for record in self.requests if record.id > after],
        }
