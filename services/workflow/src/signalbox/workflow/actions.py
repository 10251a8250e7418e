"""System actions: handoff, close, update_profile, webhook."""

from dataclasses import field
from typing import Any

import orjson

from signalbox.common.errors import NotFound
from signalbox.common.ids import new_id
from signalbox.common.record import record
from signalbox.contracts.config import Action
from signalbox.contracts.context import CallContext
from signalbox.contracts.query import QueryStatus
from signalbox.workflow.background.records import OutboxMessage
from signalbox.workflow.records import SessionStatus
from signalbox.workflow.snapshot import WorkflowSnapshot
from signalbox.workflow.texts import builtin

_SESSION_STATUS: dict[str, SessionStatus] = {"handoff": "transferred", "close": "closed"}
_QUERY_STATUS: dict[str, QueryStatus] = {"handoff": "handoff", "close": "closed"}


@record
class ActionOutcome:
    """What taking an action changes; the turn's commit writes it."""

    message: str
    status: QueryStatus = "success"
    session_status: SessionStatus = "active"
    profile: dict[str, Any] | None = None
    outbox: list[OutboxMessage] = field(default_factory=list)


class Actions:
    """Takes system actions. Nothing leaves the system here: webhooks are stored with the turn, sent later."""

    def take(
        self,
        snapshot: WorkflowSnapshot,
        action_id: str,
        context: CallContext,
        parameters: dict[str, Any],
        said: str = "",
        untranslated: set[str] | None = None,
    ) -> ActionOutcome:
        """Take an action; ``said`` is what the reply already holds, ``untranslated`` what ``render`` adds to.

        Raises:
            NotFound: the snapshot has no such action.
        """
        action = snapshot.actions.get(action_id)
        if action is None:
            raise NotFound(f"The workflow has no action '{action_id}'.")
        values = snapshot.values(context, parameters=parameters)
        message = self._message(snapshot, action, context, values, untranslated)
        profile = None
        if action.profile:
            updates = snapshot.templates.render_value(action.profile, values)
            profile = {**context.profile, **updates}
        return ActionOutcome(
            "\n\n".join(part for part in (said, message) if part),
            _QUERY_STATUS.get(action.type, "success"),
            _SESSION_STATUS.get(action.type, "active"),
            profile,
            self._webhooks(snapshot, action, context, values),
        )

    def _message(
        self,
        snapshot: WorkflowSnapshot,
        action: Action,
        context: CallContext,
        values: dict[str, Any],
        untranslated: set[str] | None,
    ) -> str:
        if action.silent:
            return ""
        reply = action.reply or (builtin(action.type) if action.type in {"handoff", "close"} else None)
        if reply is None:
            return ""
        return snapshot.render(reply, context.language, context.turn_id, values, untranslated)

    def _webhooks(
        self, snapshot: WorkflowSnapshot, action: Action, context: CallContext, values: dict[str, Any]
    ) -> list[OutboxMessage]:
        webhook = action.webhook
        if webhook is None:
            return []
        data = snapshot.templates.render_value(webhook.payload, values) if webhook.payload else None
        payload = {
            "type": f"action.{action.type}",
            "timestamp": context.now_ms,
            "data": data
            or {
                "action": action.id,
                "session_id": context.session_id,
                "turn_id": context.turn_id,
                "workflow_id": context.workflow_id,
                "parameters": values["parameters"],
            },
        }
        target = {
            "url": snapshot.templates.render_url(webhook.url, values),
            "secret": webhook.secret,
            "headers": snapshot.templates.render_value(webhook.headers, values),
        }
        return [
            OutboxMessage(
                tenant=context.tenant,
                message_id=new_id("msg"),
                kind="action",
                target=orjson.dumps(target).decode(),
                payload=orjson.dumps(payload).decode(),
                due_at=context.now_ms,
                created_at=context.now_ms,
                session_id=context.session_id,
            )
        ]
