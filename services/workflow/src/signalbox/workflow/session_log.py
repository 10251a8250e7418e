"""The event log of a session: what was said in it without a message having asked for it.

Events are numbered by the position of their message in the session's history, so that whoever reads on from a position
finds in the database what the log no longer has.
"""

from signalbox.common.cache import key

SESSION_LOG_MS = 600_000
"""How long after its last event a log is kept."""


def session_log_name(tenant: str, session_id: str) -> str:
    """Where the events of a session are, in the cache."""
    return key("session-events", tenant, session_id)
