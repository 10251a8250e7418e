"""System actions: handoff, close, update_profile, webhook."""

from dataclasses import field
from typing import Any

import orjson

from signalbox.common.errors import NotFound
from signalbox.common.ids import new_id
from signalbox.common.record import record
from signalbox.contracts.config import Action
from signalbox.contracts.context import CallContext, ChatMessage
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


@record
class Situation:
    """What an action is taken in; its templates see all of it."""

    parameters: dict[str, Any] = field(default_factory=dict)
    slots: dict[str, Any] = field(default_factory=dict)
    """Of the flow that takes the action, or that was open when it was asked for."""
    reason: str | None = None
    message: str = ""
    transcript: list[ChatMessage] = field(default_factory=list)
    """The conversation, this turn included; only for a handoff that is delivered somewhere."""

    def values(self) -> dict[str, Any]:
        """As templates see it; what a flow knows counts as a parameter where the message gave none."""
        return {
            "parameters": {**self.slots, **self.parameters},
            "slots": self.slots,
            "reason": self.reason,
            "message": self.message,
            "transcript": [message.model_dump(include={"role", "text"}) for message in self.transcript],
        }


class Actions:
    """Takes system actions. Nothing leaves the system here: webhooks are stored with the turn, sent later."""

    def take(
        self,
        snapshot: WorkflowSnapshot,
        action_id: str,
        context: CallContext,
        situation: Situation,
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
        values = snapshot.values(context, **situation.values())
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
                "user_id": context.user_id,
                "language": context.language,
                "message": values["message"],
                "parameters": values["parameters"],
                "slots": values["slots"],
                "reason": values["reason"],
                **({"transcript": values["transcript"]} if action.type == "handoff" else {}),
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
