"""Lists, exports and erasures in SQL."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from signalbox.common.storage import (
    Database,
    Row,
    Statement,
    Write,
    any_of,
    columns_of,
    insert_into,
    listed,
)
from signalbox.workflow.records import ErasureRecord, Session, SessionState, TurnRecord

if TYPE_CHECKING:
    from signalbox.workflow.keeping.listing import SessionFilter

_SESSION = tuple(name for name in columns_of(Session) if name != "stored")
_TURN = columns_of(TurnRecord)
_ERASURE = columns_of(ErasureRecord)
_TASK = ("task_id", "status", "request", "result", "webhook", "created_at", "finished_at")

_SCHEDULE = ("schedule_id", "name", "cron", "timezone", "request", "status", "created_at")

_ESCAPE = "!"
_SAID = (
    "/*postgresql CASE WHEN strpos(t.reply, '\\u0000') > 0 THEN '' ELSE t.reply::json ->> 'message' END*/"
    "/*sqlite json_extract(t.reply, '$.message')*/"
)
_LIKE = f"LIKE CAST(:like AS text) ESCAPE '{_ESCAPE}'"
_HAS_TEXT = (
    "EXISTS (SELECT 1 FROM workflow_turns AS t WHERE t.tenant = page.tenant"
    " AND t.session_id = page.session_id AND t.status = 'committed'"
    f" AND (lower(t.user_text) {_LIKE} OR lower({_SAID}) {_LIKE}))"
)


def _page(of_user: str) -> Statement:
    """A page of sessions; ``of_user`` is a condition that an index serves."""
    return Statement(
        f"SELECT {listed(_SESSION, 'page')}, CASE WHEN CAST(:like AS text) IS NULL THEN 1"
        f" WHEN {_HAS_TEXT} THEN 1 ELSE 0 END AS hit FROM ("
        f"SELECT {listed(_SESSION)} FROM workflow_sessions"
        f" WHERE tenant = :in_tenant{of_user} AND status <> 'deleted' AND message_count > 0"
        " AND (CAST(:in_workflow AS text) IS NULL OR workflow_id = :in_workflow)"
        f" AND (CAST(:all_workflows AS bigint) = 1 OR {any_of('workflow_id', 'workflows')})"
        " AND (CAST(:in_status AS text) IS NULL OR status = :in_status)"
        " AND updated_at BETWEEN :since AND :until"
        " AND (updated_at < :before_at OR (updated_at = :before_at AND session_id < :before_id))"
        " ORDER BY updated_at DESC, session_id DESC LIMIT :at_most) AS page"
        " ORDER BY page.updated_at DESC, page.session_id DESC"
    )


_PAGE = _page("")
_PAGE_OF_USER = _page(" AND user_id = :in_user")

_OVER = Statement(
    f"SELECT {listed(_SESSION)} FROM workflow_sessions WHERE keep_until <= :now"
    " ORDER BY keep_until LIMIT :at_most"
)

_THIS_SESSION = "tenant = :in_tenant AND session_id = :in_session"
_OF_USER = Statement(
    f"SELECT {listed(_SESSION)} FROM workflow_sessions WHERE tenant = :in_tenant AND user_id = :in_user"
    " AND session_id > :behind ORDER BY session_id LIMIT :at_most"
)
_TURNS = Statement(
    f"SELECT {listed(_TURN)} FROM workflow_turns WHERE {_THIS_SESSION}"
    " AND (first_message > :behind OR (first_message = :behind AND turn_id > :behind_id))"
    " ORDER BY first_message, turn_id LIMIT :at_most"
)
_SUMMARY = Statement(f"SELECT text FROM workflow_summaries WHERE {_THIS_SESSION}")
_RECENT = Statement(
    f"SELECT turn_id FROM workflow_turns WHERE {_THIS_SESSION} AND created_at >= :since"
    " ORDER BY first_message DESC LIMIT :at_most"
)

_USER_OF_REQUEST = (
    "/*postgresql CASE WHEN strpos(request, '\\u0000') > 0 THEN '' ELSE request::json ->> 'user_id' END*/"
    "/*sqlite json_extract(request, '$.user_id')*/"
)
_THEIRS = (
    f"({_USER_OF_REQUEST}) = :of_user OR subject = :of_subject AND COALESCE({_USER_OF_REQUEST}, '') = ''"
)
_TASKS_OF_SUBJECT, _TASKS_OF_USER = (
    Statement(
        f"SELECT {listed(_TASK)} FROM workflow_tasks WHERE {_THIS_SESSION} AND ({whose})"
        " ORDER BY created_at LIMIT :at_most"
    )
    for whose in ("subject = :of_subject", _THEIRS)
)
"""Anybody may queue a message for any session id; what its owner may see is what its owner has queued."""

_SCHEDULES = Statement(
    f"SELECT {listed(_SCHEDULE)} FROM workflow_schedules"
    f" WHERE tenant = :in_tenant AND {_USER_OF_REQUEST} = :in_user ORDER BY schedule_id"
)
_DELETE_SCHEDULES = Statement(
    f"DELETE FROM workflow_schedules WHERE tenant = :in_tenant AND {_USER_OF_REQUEST} = :in_user"
)

_INSERT_ERASURE = Statement(insert_into("workflow_erasures", _ERASURE))
_TAKE_ERASURES = Statement(
    "UPDATE workflow_erasures SET due_at = :again_at, attempt = attempt + 1 FROM ("
    "SELECT tenant AS due_tenant, erasure_id AS due_id FROM workflow_erasures"
    " WHERE due_at <= :now ORDER BY due_at LIMIT :at_most /*postgresql FOR UPDATE SKIP LOCKED*/) AS due"
    " WHERE tenant = due_tenant AND erasure_id = due_id"
    f" RETURNING {listed(_ERASURE)}"
)
_THIS_ERASURE = "tenant = :in_tenant AND erasure_id = :in_erasure"
_PUT_OFF = Statement(f"UPDATE workflow_erasures SET due_at = :new_due_at WHERE {_THIS_ERASURE}")
_END_ERASURE = Statement(f"DELETE FROM workflow_erasures WHERE {_THIS_ERASURE}")


class SqlKeepingStore:
    """``SessionList``, ``KeptTurns``, ``ExpiredSessions`` and ``ErasureStore`` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self,
        tenant: str,
        workflows: frozenset[str] | None,
        wanted: "SessionFilter",
        before: tuple[int, str] | None,
        limit: int,
    ) -> list[tuple[Session, bool]]:
        """See ``SessionList.page``."""
        before_at, before_id = before or (2**62, "")
        params: dict[str, Any] = {
            "in_tenant": tenant,
            "in_user": wanted.user_id,
            "in_workflow": wanted.workflow_id,
            "in_status": wanted.status,
            "all_workflows": int(workflows is None),
            "workflows": sorted(workflows or ()),
            "since": wanted.since,
            "until": wanted.until,
            "before_at": before_at,
            "before_id": before_id,
            "like": None if wanted.text is None else _pattern(wanted.text),
            "at_most": limit,
        }
        statement = _PAGE if wanted.user_id is None else _PAGE_OF_USER
        rows = await self._database.fetch_all(statement, params)
        return [(_session(row), bool(row["hit"])) for row in rows]

    async def kept_long_enough(self, now: int, limit: int) -> list[Session]:
        """See ``ExpiredSessions.kept_long_enough``."""
        rows = await self._database.fetch_all(_OVER, {"now": now, "at_most": limit})
        return [_session(row) for row in rows]

    async def sessions_of(self, tenant: str, user_id: str, after: str, limit: int) -> list[Session]:
        """See ``KeptTurns.sessions_of``."""
        params = {"in_tenant": tenant, "in_user": user_id, "behind": after, "at_most": limit}
        return [_session(row) for row in await self._database.fetch_all(_OF_USER, params)]

    async def turns(self, session: Session, after: tuple[int, str], limit: int) -> list[TurnRecord]:
        """See ``KeptTurns.turns``."""
        params = {**_named(session), "behind": after[0], "behind_id": after[1], "at_most": limit}
        return [TurnRecord(**row) for row in await self._database.fetch_all(_TURNS, params)]

    async def tasks(self, session: Session, limit: int) -> list[dict[str, object]]:
        """See ``KeptTurns.tasks``."""
        named = {**_named(session), "at_most": limit, "of_subject": session.subject}
        if session.user_id is None:
            return await self._database.fetch_all(_TASKS_OF_SUBJECT, named)
        return await self._database.fetch_all(_TASKS_OF_USER, {**named, "of_user": session.user_id})

    async def summary(self, session: Session) -> str | None:
        """See ``KeptTurns.summary``."""
        row = await self._database.fetch_one(_SUMMARY, _named(session))
        return None if row is None else str(row["text"])

    async def schedules_of(self, tenant: str, user_id: str) -> list[dict[str, object]]:
        """See ``KeptTurns.schedules_of``."""
        return await self._database.fetch_all(_SCHEDULES, {"in_tenant": tenant, "in_user": user_id})

    async def delete_schedules(self, tenant: str, user_id: str) -> None:
        """See ``ErasureStore.delete_schedules``."""
        await self._database.write(Write(_DELETE_SCHEDULES, {"in_tenant": tenant, "in_user": user_id}))

    async def recent_turns(self, session: Session, since: int, limit: int) -> list[str]:
        """See ``ErasureStore.recent_turns``."""
        params = {**_named(session), "since": since, "at_most": limit}
        return [row["turn_id"] for row in await self._database.fetch_all(_RECENT, params)]

    async def add(self, erasure: ErasureRecord) -> None:
        """See ``ErasureStore.add``."""
        await self._database.write(write_of(erasure))

    async def take_due(self, now: int, again_at: int, limit: int) -> list[ErasureRecord]:
        """See ``ErasureStore.take_due``."""
        params = {"now": now, "again_at": again_at, "at_most": limit}
        [rows] = await self._database.write(Write(_TAKE_ERASURES, params))
        return [ErasureRecord(**row) for row in rows]

    async def put_off(self, erasure: ErasureRecord, due_at: int) -> None:
        """See ``ErasureStore.put_off``."""
        params = {"in_tenant": erasure.tenant, "in_erasure": erasure.erasure_id, "new_due_at": due_at}
        await self._database.write(Write(_PUT_OFF, params))

    async def end(self, erasure: ErasureRecord) -> None:
        """See ``ErasureStore.end``."""
        params = {"in_tenant": erasure.tenant, "in_erasure": erasure.erasure_id}
        await self._database.write(Write(_END_ERASURE, params))


def write_of(erasure: ErasureRecord) -> Write:
    """The write that stores an erasure, for the transaction of what is deleted here."""
    return Write(_INSERT_ERASURE, asdict(erasure))


def _pattern(text: str) -> str:
    """What ``LIKE`` looks for: the text anywhere, its case ignored where the database knows how."""
    escaped = text.lower()
    for special in (_ESCAPE, "%", "_"):
        escaped = escaped.replace(special, _ESCAPE + special)
    return f"%{escaped}%"


def _named(session: Session) -> dict[str, Any]:
    return {"in_tenant": session.tenant, "in_session": session.session_id}


def _session(row: Row) -> Session:
    return Session(
        **{name: row[name] for name in _SESSION if name != "state"},
        state=SessionState.model_validate_json(row["state"]),
        stored=True,
    )
