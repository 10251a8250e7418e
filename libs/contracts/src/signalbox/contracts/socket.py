"""What goes over a WebSocket of queries: one JSON object a message, each way.

A client's message has a ``ref`` of its choice; what answers it carries the same. The events of a turn are those of its
stream, with the same numbers, so that a turn begun on one connection is resumed on another, or as server-sent events.
"""

from typing import Annotated, Literal

from pydantic import Field

from signalbox.contracts.base import ExternalId, PublicRequest, WireModel
from signalbox.contracts.events import TurnEvent
from signalbox.contracts.problem import Problem
from signalbox.contracts.query import QueryRequest

Ref = Annotated[str, Field(max_length=100)]


class SocketQuery(PublicRequest):
    """A message to answer; further ones may be sent before it has been answered."""

    type: Literal["query"] = "query"
    ref: Ref = ""
    query: QueryRequest
    idempotency_key: str | None = Field(default=None, min_length=1, max_length=255)
    """As the header of that name."""
    timeout_ms: int | None = Field(default=None, ge=1, le=3_600_000)
    """As the header ``Signalbox-Timeout-Ms``."""


class SocketResume(PublicRequest):
    """Asks for the events of a turn above a number, from any replica."""

    type: Literal["resume"] = "resume"
    ref: Ref = ""
    turn_id: ExternalId
    after: int = Field(default=0, ge=0)
    user_id: ExternalId | None = None
    """The user that the key acts for."""


class SocketCancel(PublicRequest):
    """Asks for a turn to be stopped; its stream ends with ``error``, here or wherever it is followed."""

    type: Literal["cancel"] = "cancel"
    ref: Ref = ""
    turn_id: ExternalId
    user_id: ExternalId | None = None


class SocketPing(PublicRequest):
    """Asks whether the other side is there, for clients that cannot send a ping frame."""

    type: Literal["ping"] = "ping"
    ref: Ref = ""


ClientMessage = Annotated[SocketQuery | SocketResume | SocketCancel | SocketPing, Field(discriminator="type")]


class SocketEvent(WireModel):
    """An event of a turn; ``complete`` or ``error`` is the last one."""

    type: Literal["event"] = "event"
    ref: str
    turn_id: str
    id: int
    event: TurnEvent


class SocketProblem(WireModel):
    """A message that was refused, or a turn that can no longer be followed; the connection goes on."""

    type: Literal["problem"] = "problem"
    ref: str
    problem: Problem


class SocketPong(WireModel):
    """The answer to a ping."""

    type: Literal["pong"] = "pong"
    ref: str


class SocketReconnect(WireModel):
    """The server ends: connect anew, and resume the turns whose last event has not come. It closes with code 1012."""

    type: Literal["reconnect"] = "reconnect"
