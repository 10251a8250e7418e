"""Webhooks as operators see them: what was delivered, what waits, what was given up and can be replayed."""

import orjson

from signalbox.common.ids import now_ms
from signalbox.contracts.background import WebhookList, WebhookStatus, WebhookView
from signalbox.contracts.identity import Principal
from signalbox.workflow.background.ports import OutboxStore
from signalbox.workflow.background.records import OutboxMessage
from signalbox.workflow.background.webhooks import WebhookSender
from signalbox.workflow.errors import WebhookNotDead, WebhookNotFound


class WebhookViews:
    """The webhooks of a tenant."""

    def __init__(self, outbox: OutboxStore, sender: WebhookSender) -> None:
        self._outbox = outbox
        self._sender = sender

    async def webhooks(
        self, principal: Principal, status: WebhookStatus | None, before: str | None, limit: int
    ) -> WebhookList:
        """A page of the tenant's webhooks, newest first."""
        found = await self._outbox.listed(principal.tenant, status=status, before=before, limit=limit + 1)
        page = found[:limit]
        return WebhookList(
            items=[_view(message) for message in page],
            next_before=page[-1].message_id if len(found) > limit else None,
        )

    async def replay(self, principal: Principal, webhook_id: str) -> WebhookView:
        """Deliver a webhook that was given up, from the first attempt on.

        Raises:
            WebhookNotFound: the tenant has none of that id.
            WebhookNotDead: it was not given up.
        """
        replayed = await self._outbox.replay(principal.tenant, webhook_id, now_ms())
        if replayed is None:
            found = await self._outbox.message(principal.tenant, webhook_id)
            if found is None:
                raise WebhookNotFound(webhook_id)
            raise WebhookNotDead(webhook_id, found.status)
        self._sender.wake()
        return _view(replayed)


def _view(message: OutboxMessage) -> WebhookView:
    return WebhookView(
        webhook_id=message.message_id,
        kind=message.kind,
        url=orjson.loads(message.target).get("url", ""),
        status=message.status,
        attempt=message.attempt,
        last_error=message.last_error,
        due_at=message.due_at,
        created_at=message.created_at,
        finished_at=message.finished_at,
    )
