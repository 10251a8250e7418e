"""The event log of a session: what was said in it without a message having asked for it.

Events are numbered by the position of their message in the session's history, so that whoever reads on from a position
finds in the database what the log no longer has.
"""

from contextlib import suppress

import orjson

from signalbox.common.cache import Cache, key
from signalbox.common.errors import Unavailable
from signalbox.contracts.query import MessageView
from signalbox.workflow.records import Session, TurnRecord

SESSION_LOG_MS = 600_000
"""How long after its last event a log is kept."""


def session_log_name(tenant: str, session_id: str) -> str:
    """Where the events of a session are, in the cache."""
    return key("session-events", tenant, session_id)


class SessionLog:
    """Tells those who follow a session, wherever, what was said in it."""

    def __init__(self, cache: Cache) -> None:
        self._logs = cache.logs

    async def tell(self, after: Session, turn: TurnRecord, message: str) -> None:
        """Say what a turn has said that no message of the user began; nothing where it is silent."""
        if not message:
            return
        said = MessageView(
            seq=turn.first_message,
            role="assistant",
            text=message,
            turn_id=turn.turn_id,
            created_at=turn.created_at,
        )
        event = orjson.dumps({"type": "message", "data": said.model_dump(mode="json", exclude_none=True)})
        name = session_log_name(after.tenant, after.session_id)
        with suppress(Unavailable):
            await self._logs.append(name, said.seq, (event,), SESSION_LOG_MS)
