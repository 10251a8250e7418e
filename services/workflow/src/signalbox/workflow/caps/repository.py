"""What turns have cost, in SQL."""

from signalbox.common.storage import Database, Statement
from signalbox.workflow.records import Session

_OF_USER = Statement(
    "SELECT COALESCE(SUM(turns.cost_pico), 0) AS spent FROM workflow_sessions AS sessions"
    " JOIN workflow_turns AS turns ON turns.tenant = sessions.tenant AND turns.session_id = sessions.session_id"
    " WHERE sessions.tenant = :in_tenant AND sessions.user_id = :in_user"
    " AND sessions.updated_at >= :since AND turns.created_at >= :since"
)
_OF_SUMMARIES = Statement(
    "SELECT cost_pico FROM workflow_summaries"
    " WHERE tenant = :in_tenant AND session_id = :in_session AND epoch = :in_epoch"
)


class SqlSpending:
    """``Spending`` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_user(self, tenant: str, user_id: str, since: int) -> int:
        """See ``Spending.of_user``."""
        params = {"in_tenant": tenant, "in_user": user_id, "since": since}
        row = await self._database.fetch_one(_OF_USER, params)
        return 0 if row is None else int(row["spent"])

    async def of_summaries(self, session: Session) -> int:
        """See ``Spending.of_summaries``."""
        params = {
            "in_tenant": session.tenant,
            "in_session": session.session_id,
            "in_epoch": session.epoch,
        }
        row = await self._database.fetch_one(_OF_SUMMARIES, params)
        return 0 if row is None else int(row["cost_pico"])
