"""Rows of the tables of responses."""

from typing import Any

import orjson

from signalbox.common.record import record

Json = dict[str, Any]


@record
class ResponseKey:
    """Which response, and whose: another tenant's or another subject's is not found."""

    tenant: str
    subject: str
    response_id: str


@record
class StoredResponse:
    """A row of ``llm_responses``; see the table. Times are epoch milliseconds."""

    tenant: str
    response_id: str
    subject: str
    status: str
    background: int
    previous_response_id: str | None
    input: str
    response: str
    owner: str | None
    heartbeat_at: int
    created_at: int
    expires_at: int

    @property
    def key(self) -> ResponseKey:
        """What names it."""
        return ResponseKey(self.tenant, self.subject, self.response_id)

    def body(self) -> Json:
        """The response object as it is now."""
        found: Json = orjson.loads(self.response)
        return {**found, "status": self.status}

    def items(self) -> list[Json]:
        """Its own input."""
        found: list[Json] = orjson.loads(self.input)
        return found


@record
class EventBatch:
    """A row of ``llm_response_events`` without its key: the events ``first`` to ``last``, one JSON a line."""

    first: int
    last: int
    events: str

    def after(self, number: int) -> list[tuple[int, bytes]]:
        """The events behind ``number``, each with its own."""
        numbered = enumerate(self.events.encode().split(b"\n"), self.first)
        return [(found, event) for found, event in numbered if found > number]


def batch_of(first: int, events: list[Json]) -> EventBatch:
    """A batch of ``events``, of which the first gets the number ``first``."""
    lines = [orjson.dumps({**event, "sequence_number": first + place}) for place, event in enumerate(events)]
    return EventBatch(first, first + len(lines) - 1, b"\n".join(lines).decode())
