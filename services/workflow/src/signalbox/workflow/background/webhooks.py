"""Delivering the outbox: webhooks signed per Standard Webhooks, retried with backoff, dead after 75 hours.

Signature: ``v1,`` and the base64 of HMAC-SHA256 over ``id.timestamp.body`` (standardwebhooks.com, version 1).
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import logging
import random
from typing import Any

import orjson

from signalbox.common.errors import SignalboxError
from signalbox.common.ids import now_ms
from signalbox.common.secrets import SecretStore
from signalbox.common.transport import Outbound, OutboundRequest
from signalbox.workflow.background.ports import OutboxStore
from signalbox.workflow.background.records import OutboxMessage
from signalbox.workflow.background.ticker import Ticker

_LOG = logging.getLogger(__name__)

_BATCH = 20
_DELAYS_S = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Waits between attempts, 75.6 hours in all; the steps are those that Standard Webhooks recommends."""


class WebhookSender:
    """Delivers what is due, from any replica: each message is taken by one of them at a time."""

    def __init__(
        self, outbox: OutboxStore, outbound: Outbound, secrets: SecretStore, timeout_ms: int = 30_000
    ) -> None:
        self._outbox = outbox
        self._outbound = outbound
        self._secrets = secrets
        self._timeout_ms = timeout_ms
        self._ticker = Ticker("webhooks", self._look)

    def start(self) -> None:
        """Look for due messages from now on."""
        self._ticker.start()

    async def stop(self) -> None:
        """Stop; a delivery cut off here is repeated by another replica or the next process."""
        await self._ticker.stop()

    def wake(self) -> None:
        """Look at once: a message was written here."""
        self._ticker.wake()

    async def deliver_due(self) -> int:
        """Deliver what is due now; returns how many messages were tried."""
        now = now_ms()
        messages = await self._outbox.take_due(now, now + 2 * self._timeout_ms, _BATCH)
        await asyncio.gather(*(self._deliver(message) for message in messages))
        return len(messages)

    async def _look(self) -> bool:
        return await self.deliver_due() == _BATCH

    async def _deliver(self, message: OutboxMessage) -> None:
        try:
            request = await self._request(message)
            response = await self._outbound.send(request)
        except SignalboxError as error:
            await self._retry(message, error.problem().code)
            return
        except Exception:  # noqa: BLE001 - logged with its traceback
            # Such as a header that no request can carry: this message waits, the others go out.
            _LOG.exception("a webhook cannot be sent", extra={"message_id": message.message_id})
            await self._retry(message, "unsendable")
            return
        if 200 <= response.status < 300:
            await self._outbox.delivered(message, now_ms())
        else:
            await self._retry(message, f"http_{response.status}")

    async def _request(self, message: OutboxMessage) -> OutboundRequest:
        target: dict[str, Any] = orjson.loads(message.target)
        secret = await self._secrets.get(message.tenant, target["secret"].removeprefix("secret:"))
        timestamp = str(now_ms() // 1000)
        body = message.payload.encode()
        headers = {
            **{name.lower(): value for name, value in target.get("headers", {}).items()},
            "content-type": "application/json",
            "webhook-id": message.message_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": sign(secret.reveal(), message.message_id, timestamp, body),
        }
        return OutboundRequest("POST", target["url"], headers, body, timeout=self._timeout_ms / 1000)

    async def _retry(self, message: OutboxMessage, reason: str) -> None:
        now = now_ms()
        due_at = None
        if message.attempt <= len(_DELAYS_S):
            delay_s = _DELAYS_S[message.attempt - 1] * random.uniform(1.0, 1.1)  # noqa: S311 - spreads retries
            due_at = now + int(delay_s * 1000)
        else:
            _LOG.warning("a webhook is given up", extra={"message_id": message.message_id, "reason": reason})
        await self._outbox.failed(message, due_at, reason, now)


def sign(secret: str, message_id: str, timestamp: str, body: bytes) -> str:
    """The signature header; a secret is base64 after ``whsec_``, or any text as it is."""
    encoded = secret.removeprefix("whsec_")
    try:
        key = base64.b64decode(encoded, validate=True) if encoded != secret else secret.encode()
    except binascii.Error:
        key = secret.encode()
    signed = b".".join((message_id.encode(), timestamp.encode(), body))
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
