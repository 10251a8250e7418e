"""Summaries in SQL, read with the turns that come after them."""

from collections.abc import Mapping
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from signalbox.common.storage import Database, Statement, Write, columns_of, listed
from signalbox.contracts.events import UsageData
from signalbox.workflow.records import Recalled, Session, Summary, TurnRecord

_TURN = columns_of(TurnRecord)
_PICO = 10**12

# One statement for both, so that a summary that is stored meanwhile is seen with what it leaves, or not at all. What is
# asked of the summary is asked once, and turns are read from the newest back: a long session costs no more than a
# short one. The text comes with the newest turn only, which is in no summary.
_EPOCH = "tenant = :in_tenant AND session_id = :in_session AND epoch = :in_epoch"
_RECALL = Statement(
    f"SELECT {listed(_TURN)},"
    f" (SELECT through_seq FROM workflow_summaries WHERE {_EPOCH}) AS of_through,"
    f" (SELECT made_at FROM workflow_summaries WHERE {_EPOCH}) AS of_made_at,"
    f" CASE WHEN seq = (SELECT max(seq) FROM workflow_turns WHERE {_EPOCH} AND status = 'committed')"
    f" THEN (SELECT text FROM workflow_summaries WHERE {_EPOCH}) END AS of_text"
    f" FROM workflow_turns WHERE {_EPOCH} AND status = 'committed'"
    f" AND seq > coalesce((SELECT through_seq FROM workflow_summaries WHERE {_EPOCH}), 0)"
    " ORDER BY seq DESC LIMIT :at_most"
)
# The session's row is held, so that none is stored of a session that is deleted at the same time.
_KEEP = Statement(
    "INSERT INTO workflow_summaries (tenant, session_id, epoch, through_seq, text, made_at, cost_pico)"
    " SELECT tenant, session_id, epoch, CAST(:through_seq AS bigint), CAST(:text AS text),"
    " CAST(:made_at AS bigint), CAST(:cost_pico AS bigint) FROM workflow_sessions"
    " WHERE tenant = :tenant AND session_id = :session_id AND epoch = :epoch AND status <> 'deleted'"
    " /*postgresql FOR SHARE*/"
    " ON CONFLICT (tenant, session_id) DO UPDATE SET epoch = excluded.epoch,"
    " through_seq = excluded.through_seq, text = excluded.text, made_at = excluded.made_at,"
    " cost_pico = excluded.cost_pico + CASE WHEN workflow_summaries.epoch = excluded.epoch"
    " THEN workflow_summaries.cost_pico ELSE 0 END"
    " WHERE workflow_summaries.epoch < excluded.epoch OR (workflow_summaries.epoch = excluded.epoch"
    " AND workflow_summaries.through_seq < excluded.through_seq)"
)
# A turn without model calls has no cost; of another one whose cost is not known, the sum is not known either.
_CHARGE = Statement(
    "UPDATE workflow_turns SET"
    " cost_pico = CASE WHEN input_tokens = 0 AND output_tokens = 0 AND cost_pico IS NULL"
    " THEN CAST(:cost AS bigint) WHEN currency = CAST(:currency AS text)"
    " THEN cost_pico + CAST(:cost AS bigint) END,"
    " currency = coalesce(currency, CAST(:currency AS text)),"
    " input_tokens = input_tokens + CAST(:input AS bigint),"
    " output_tokens = output_tokens + CAST(:output AS bigint)"
    " WHERE tenant = :in_tenant AND turn_id = :in_turn AND status = 'committed'"
)


class SqlSummaryStore:
    """``SummaryStore`` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def recall(self, session: Session, limit: int) -> Recalled:
        """See ``SummaryStore.recall``."""
        rows = await self._database.fetch_all(
            _RECALL,
            {
                "in_tenant": session.tenant,
                "in_session": session.session_id,
                "in_epoch": session.epoch,
                "at_most": limit,
            },
        )
        turns = [TurnRecord(**{name: row[name] for name in _TURN}) for row in reversed(rows)]
        return Recalled(_summary(session, rows[0]) if rows else None, turns)

    async def keep(self, summary: Summary, turn_id: str | None, usage: UsageData | None) -> None:
        """See ``SummaryStore.keep``."""
        cost = 0
        charge = []
        if turn_id is not None and usage is not None:
            charged = _charged(summary.tenant, turn_id, usage)
            cost = charged["cost"] or 0
            charge.append(Write(_CHARGE, charged))
        writes = [Write(_KEEP, {**asdict(summary), "cost_pico": cost}), *charge]
        await self._database.write(*writes)


def _summary(session: Session, row: Mapping[str, Any]) -> Summary | None:
    if row["of_text"] is None:
        return None
    return Summary(
        session.tenant,
        session.session_id,
        session.epoch,
        row["of_through"],
        row["of_text"],
        row["of_made_at"],
    )


def _charged(tenant: str, turn_id: str, usage: UsageData) -> dict[str, Any]:
    return {
        "in_tenant": tenant,
        "in_turn": turn_id,
        "cost": None if usage.cost is None else int(Decimal(usage.cost) * _PICO),
        "currency": usage.currency,
        "input": usage.input_tokens,
        "output": usage.output_tokens,
    }
