"""Sessions, turns and idempotency records in SQL; work in the background has repositories of its own."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from signalbox.common.storage import (
    Database,
    DuplicateKey,
    PreconditionFailed,
    Row,
    Statement,
    Write,
    assigned,
    columns_of,
    insert_into,
    listed,
    row_of,
)
from signalbox.workflow.background.outbox_repository import insert_outbox
from signalbox.workflow.background.records import OutboxMessage
from signalbox.workflow.idempotency_rows import IDEMPOTENCY_COLUMNS, insert_idempotency
from signalbox.workflow.keeping.repository import write_of as write_of_erasure
from signalbox.workflow.records import (
    ErasureRecord,
    Fired,
    IdempotencyKey,
    IdempotencyRecord,
    Session,
    SessionState,
    TimerSet,
    TurnRecord,
)
from signalbox.workflow.timers.repository import write_of

_SESSION = tuple(name for name in columns_of(Session) if name != "stored")
_SESSION_PLACE = ("tenant", "session_id", "created_at")
_TURN_COLUMNS = columns_of(TurnRecord)
_TURN_RESULT = (
    "status",
    "reply",
    "events",
    "stage",
    "score",
    "intent",
    "outcome",
    "latency_ms",
    "input_tokens",
    "output_tokens",
    "cost_pico",
    "currency",
    "committed_at",
)

_THIS_SESSION = "tenant = :in_tenant AND session_id = :in_session"
_THIS_TURN = "tenant = :in_tenant AND turn_id = :in_turn"
_RUNNING_HERE = f"{_THIS_TURN} AND owner = :in_owner AND status = 'running'"
_UNMOVED = "epoch = :in_epoch AND last_seq = :in_seq"
_SELECT_TURNS = f"SELECT {listed(_TURN_COLUMNS)} FROM workflow_turns"

_LOAD = Statement(f"SELECT {listed(_SESSION)} FROM workflow_sessions WHERE {_THIS_SESSION}")
_INSERT_SESSION = Statement(insert_into("workflow_sessions", _SESSION))
_ADVANCE_SESSION = Statement(
    f"UPDATE workflow_sessions SET {assigned(name for name in _SESSION if name not in _SESSION_PLACE)}"
    f" WHERE {_THIS_SESSION} AND {_UNMOVED}"
)
_TOUCH_SESSION = Statement(
    f"UPDATE workflow_sessions SET updated_at = :new_updated_at WHERE {_THIS_SESSION} AND {_UNMOVED}"
)
_INSERT_TURN = Statement(insert_into("workflow_turns", _TURN_COLUMNS))
_RETAKE = Statement(
    f"DELETE FROM workflow_turns WHERE {_THIS_TURN} AND (status IN ('failed', 'cancelled')"
    " OR (status = 'running' AND heartbeat_at < :stale_before))"
)
_COMMIT_TURN = Statement(f"UPDATE workflow_turns SET {assigned(_TURN_RESULT)} WHERE {_RUNNING_HERE}")
_HEARTBEAT = Statement(f"UPDATE workflow_turns SET heartbeat_at = :now WHERE {_RUNNING_HERE}")
_FAIL_TURN = Statement(
    f"UPDATE workflow_turns SET seq = NULL, {assigned(_TURN_RESULT)} WHERE {_RUNNING_HERE}"
)
_RUNNING = Statement(
    "SELECT max(heartbeat_at) AS heartbeat_at FROM workflow_turns"
    f" WHERE {_THIS_SESSION} AND epoch = :in_epoch AND status = 'running'"
)
_ABANDON = Statement(
    "UPDATE workflow_turns SET status = 'failed', seq = NULL, committed_at = :now"
    f" WHERE {_THIS_SESSION} AND epoch = :in_epoch AND status = 'running' AND heartbeat_at < :stale_before"
    " RETURNING turn_id"
)
_TURN = Statement(f"{_SELECT_TURNS} WHERE {_THIS_TURN}")
_HISTORY = Statement(
    f"{_SELECT_TURNS} WHERE {_THIS_SESSION} AND status = 'committed' AND first_message >= :from_message"
    " ORDER BY first_message LIMIT :at_most"
)
_RECENT = Statement(
    f"{_SELECT_TURNS} WHERE {_THIS_SESSION} AND epoch = :in_epoch AND status = 'committed'"
    " ORDER BY first_message DESC LIMIT :at_most"
)
_DELETE_TURNS = Statement(f"DELETE FROM workflow_turns WHERE {_THIS_SESSION}")
_DELETE_STORED_REPLIES = Statement(
    "DELETE FROM workflow_idempotency WHERE tenant = :in_tenant"
    f" AND (target_id IN (SELECT turn_id FROM workflow_turns WHERE {_THIS_SESSION})"
    f" OR target_id IN (SELECT task_id FROM workflow_tasks WHERE {_THIS_SESSION}))"
)
_DELETE_TASKS = Statement(f"DELETE FROM workflow_tasks WHERE {_THIS_SESSION}")
_DELETE_OUTBOX = Statement(f"DELETE FROM workflow_outbox WHERE {_THIS_SESSION}")
_DELETE_TIMERS = Statement(f"DELETE FROM workflow_timers WHERE {_THIS_SESSION}")
_DELETE_SUMMARY = Statement(f"DELETE FROM workflow_summaries WHERE {_THIS_SESSION}")
_DELETE_PAUSED = Statement(f"DELETE FROM workflow_paused_runs WHERE {_THIS_SESSION}")
_FEEDBACK = Statement(
    f"UPDATE workflow_turns SET thumb = :new_thumb, comment = :new_comment WHERE {_THIS_TURN}"
)
_COUNT = Statement(
    "SELECT count(*) AS sessions FROM workflow_sessions"
    " WHERE tenant = :in_tenant AND expires_at > :now AND status <> 'deleted' AND message_count > 0"
)

_THIS_KEY = "tenant = :in_tenant AND subject = :in_subject AND route = :in_route AND key = :in_key"
_FIND_KEY = Statement(f"SELECT {listed(IDEMPOTENCY_COLUMNS)} FROM workflow_idempotency WHERE {_THIS_KEY}")
_TAKE_OVER_KEY = Statement(
    "UPDATE workflow_idempotency SET locked_until = :new_locked_until"
    f" WHERE {_THIS_KEY} AND reply IS NULL AND locked_until < :now AND request_hash = :in_hash"
)
_MY_CLAIM = f"{_THIS_KEY} AND target_id = :in_target AND locked_until = :in_locked_until AND reply IS NULL"
_KEEP_KEY = Statement(f"UPDATE workflow_idempotency SET locked_until = :new_locked_until WHERE {_MY_CLAIM}")
_STORE_REPLY = Statement(
    f"UPDATE workflow_idempotency SET reply = :new_reply WHERE {_THIS_KEY} AND target_id = :in_target"
)
_FORGET_KEY = Statement(f"DELETE FROM workflow_idempotency WHERE {_MY_CLAIM}")
_PRUNE_KEYS = Statement(
    "DELETE FROM workflow_idempotency WHERE (tenant, subject, route, key) IN ("
    "SELECT tenant, subject, route, key FROM workflow_idempotency WHERE created_at < :created_before"
    " ORDER BY created_at LIMIT :at_most /*postgresql FOR UPDATE SKIP LOCKED*/) RETURNING key"
)


class SqlSessionStore:
    """``SessionStore`` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, tenant: str, session_id: str) -> Session | None:
        """See ``SessionStore.load``."""
        row = await self._database.fetch_one(_LOAD, {"in_tenant": tenant, "in_session": session_id})
        return None if row is None else _session(row)

    async def begin(self, before: Session, turn: TurnRecord) -> None:
        """See ``SessionStore.begin``."""
        await self._database.write(_touch(before, turn), Write(_INSERT_TURN, row_of(turn)))

    async def commit(
        self,
        before: Session,
        after: Session,
        turn: TurnRecord,
        *,
        begun: bool,
        idempotency: IdempotencyKey | None = None,
        outbox: Sequence[OutboxMessage] = (),
        timers: TimerSet | Fired | None = None,
        further: Sequence[Write] = (),
    ) -> None:
        """See ``SessionStore.commit``."""
        row = _session_row(after)
        if before.stored or begun:
            advance = {f"new_{name}": value for name, value in row.items()}
            writes = [Write(_ADVANCE_SESSION, {**_at(before), **advance}, expect=1)]
        else:
            writes = [Write(_INSERT_SESSION, row)]
        record = row_of(turn)
        if begun:
            changed = {f"new_{name}": value for name, value in record.items()}
            name = _running_here(turn)
            writes.append(Write(_COMMIT_TURN, {**changed, **name}, expect=1))
        else:
            writes.append(Write(_INSERT_TURN, record))
        if idempotency is not None:
            params = {**_key(idempotency), "in_target": turn.turn_id, "new_reply": turn.reply}
            writes.append(Write(_STORE_REPLY, params, expect=1))
        writes += [insert_outbox(message) for message in outbox]
        if timers is not None:
            writes.append(write_of(timers))
        writes += further
        await self._database.write(*writes)

    async def heartbeat(self, turn: TurnRecord, now: int) -> None:
        """See ``SessionStore.heartbeat``."""
        await self._database.write(Write(_HEARTBEAT, {**_running_here(turn), "now": now}))

    async def fail(self, before: Session, turn: TurnRecord, *, begun: bool) -> None:
        """See ``SessionStore.fail``."""
        record = row_of(turn)
        if begun:
            changed = {f"new_{name}": value for name, value in record.items()}
            name = _running_here(turn)
            await self._database.write(Write(_FAIL_TURN, {**changed, **name}))
        else:
            await self._database.write(_touch(before, turn), Write(_INSERT_TURN, record))

    async def running_since(self, session: Session) -> int | None:
        """See ``SessionStore.running_since``."""
        row = await self._database.fetch_one(
            _RUNNING,
            {
                "in_tenant": session.tenant,
                "in_session": session.session_id,
                "in_epoch": session.epoch,
            },
        )
        return None if row is None else row["heartbeat_at"]

    async def abandon(self, session: Session, stale_before: int, now: int) -> bool:
        """See ``SessionStore.abandon``."""
        [rows] = await self._database.write(
            Write(
                _ABANDON,
                {
                    "in_tenant": session.tenant,
                    "in_session": session.session_id,
                    "in_epoch": session.epoch,
                    "stale_before": stale_before,
                    "now": now,
                },
            )
        )
        return bool(rows)

    async def retake(self, tenant: str, turn_id: str, stale_before: int) -> None:
        """See ``SessionStore.retake``."""
        params = {"in_tenant": tenant, "in_turn": turn_id, "stale_before": stale_before}
        await self._database.write(Write(_RETAKE, params))

    async def turn(self, tenant: str, turn_id: str) -> TurnRecord | None:
        """See ``SessionStore.turn``."""
        row = await self._database.fetch_one(_TURN, {"in_tenant": tenant, "in_turn": turn_id})
        return None if row is None else TurnRecord(**row)

    async def turns(self, session: Session, after_message: int, limit: int) -> list[TurnRecord]:
        """See ``SessionStore.turns``."""
        rows = await self._database.fetch_all(
            _HISTORY,
            {
                "in_tenant": session.tenant,
                "in_session": session.session_id,
                # A turn has two messages: the one before the position may hold the next.
                "from_message": after_message,
                "at_most": limit,
            },
        )
        return [TurnRecord(**row) for row in rows]

    async def recent_turns(self, session: Session, limit: int) -> list[TurnRecord]:
        """See ``SessionStore.recent_turns``."""
        rows = await self._database.fetch_all(
            _RECENT,
            {
                "in_tenant": session.tenant,
                "in_session": session.session_id,
                "in_epoch": session.epoch,
                "at_most": limit,
            },
        )
        return [TurnRecord(**row) for row in reversed(rows)]

    async def delete(self, session: Session, erasure: ErasureRecord, now: int) -> None:
        """See ``SessionStore.delete``."""
        emptied = {
            **_session_row(session),
            "user_id": None,
            "status": "deleted",
            "epoch": session.epoch + 1,
            "last_seq": 0,
            "message_count": 0,
            "config_hash": None,
            "state": SessionState().model_dump_json(),
            "updated_at": now,
            "expires_at": now,
            "keep_until": None,
        }
        name = {"in_tenant": session.tenant, "in_session": session.session_id}
        advance = {f"new_{column}": value for column, value in emptied.items()}
        await self._database.write(
            Write(_ADVANCE_SESSION, {**_at(session), **advance}, expect=1),
            Write(_DELETE_STORED_REPLIES, name),
            Write(_DELETE_TURNS, name),
            Write(_DELETE_TASKS, name),
            Write(_DELETE_OUTBOX, name),
            Write(_DELETE_TIMERS, name),
            Write(_DELETE_SUMMARY, name),
            Write(_DELETE_PAUSED, name),
            write_of_erasure(erasure),
        )

    async def feedback(self, tenant: str, turn_id: str, thumb: str, comment: str) -> None:
        """See ``SessionStore.feedback``."""
        params = {"in_tenant": tenant, "in_turn": turn_id, "new_thumb": thumb, "new_comment": comment}
        await self._database.write(Write(_FEEDBACK, params))

    async def count(self, tenant: str, now: int) -> int:
        """See ``SessionStore.count``."""
        row = await self._database.fetch_one(_COUNT, {"in_tenant": tenant, "now": now})
        return int(row["sessions"]) if row else 0


class SqlIdempotencyStore:
    """``IdempotencyStore`` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, name: IdempotencyKey, kept_since: int) -> IdempotencyRecord | None:
        """See ``IdempotencyStore.find``."""
        row = await self._database.fetch_one(_FIND_KEY, _key(name))
        return None if row is None or row["created_at"] < kept_since else _idempotency(row)

    async def claim(
        self, record: IdempotencyRecord, now: int, kept_since: int
    ) -> tuple[IdempotencyRecord, bool]:
        """See ``IdempotencyStore.claim``."""
        row = await self._database.fetch_one(_FIND_KEY, _key(record.name))
        if row is None or row["created_at"] < kept_since:
            try:
                await self._database.write(*insert_idempotency(record, now, kept_since))
            except DuplicateKey:
                return await self.claim(record, now, kept_since)
            return record, True
        found = _idempotency(row)
        if found.reply is None and found.locked_until < now and found.request_hash == record.request_hash:
            params = {
                **_key(record.name),
                "now": now,
                "in_hash": record.request_hash,
                "new_locked_until": record.locked_until,
            }
            try:
                await self._database.write(Write(_TAKE_OVER_KEY, params, expect=1))
            except PreconditionFailed:
                return await self.claim(record, now, kept_since)
            return replace(found, locked_until=record.locked_until), True
        return found, False

    async def keep(self, name: IdempotencyKey, target_id: str, locked_until: int, longer: int) -> bool:
        """See ``IdempotencyStore.keep``."""
        params = {**_claim(name, target_id, locked_until), "new_locked_until": longer}
        try:
            await self._database.write(Write(_KEEP_KEY, params, expect=1))
        except PreconditionFailed:
            return False
        return True

    async def forget(self, name: IdempotencyKey, target_id: str, locked_until: int) -> None:
        """See ``IdempotencyStore.forget``."""
        await self._database.write(Write(_FORGET_KEY, _claim(name, target_id, locked_until)))

    async def prune(self, created_before: int, limit: int) -> int:
        """See ``IdempotencyStore.prune``."""
        [rows] = await self._database.write(
            Write(_PRUNE_KEYS, {"created_before": created_before, "at_most": limit})
        )
        return len(rows)


def _touch(before: Session, turn: TurnRecord) -> Write:
    """Make sure that the session is still at ``before``; a new one is made."""
    if before.stored:
        return Write(_TOUCH_SESSION, {**_at(before), "new_updated_at": turn.created_at}, expect=1)
    return Write(_INSERT_SESSION, _session_row(before))


def _running_here(turn: TurnRecord) -> dict[str, Any]:
    """Names a running turn: that of this owner, as another may have taken over a turn of the same id."""
    return {"in_tenant": turn.tenant, "in_turn": turn.turn_id, "in_owner": turn.owner}


def _at(session: Session) -> dict[str, Any]:
    return {
        "in_tenant": session.tenant,
        "in_session": session.session_id,
        "in_epoch": session.epoch,
        "in_seq": session.last_seq,
    }


def _claim(name: IdempotencyKey, target_id: str, locked_until: int) -> dict[str, Any]:
    return {**_key(name), "in_target": target_id, "in_locked_until": locked_until}


def _key(name: IdempotencyKey) -> dict[str, Any]:
    return {
        "in_tenant": name.tenant,
        "in_subject": name.subject,
        "in_route": name.route,
        "in_key": name.key,
    }


def _session_row(session: Session) -> dict[str, Any]:
    return {
        "tenant": session.tenant,
        "session_id": session.session_id,
        "subject": session.subject,
        "user_id": session.user_id,
        "workflow_id": session.workflow_id,
        "status": session.status,
        "epoch": session.epoch,
        "last_seq": session.last_seq,
        "message_count": session.message_count,
        "config_hash": session.config_hash,
        "state": session.state.model_dump_json(exclude_defaults=True),
        "created_at": session.created_at,
        "updated_at": session.updated_at,
        "expires_at": session.expires_at,
        "keep_until": session.keep_until,
    }


def _session(row: Row) -> Session:
    return Session(
        **{name: value for name, value in row.items() if name != "state"},
        state=SessionState.model_validate_json(row["state"]),
        stored=True,
    )


def _idempotency(row: Row) -> IdempotencyRecord:
    return IdempotencyRecord(
        name=IdempotencyKey(row["tenant"], row["subject"], row["route"], row["key"]),
        request_hash=row["request_hash"],
        target_id=row["target_id"],
        reply=row["reply"],
        locked_until=row["locked_until"],
    )
