"""What posting work in the background has in common: repeated requests, receivers of results, who asks."""

import hashlib
from collections.abc import Awaitable, Callable
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel

from signalbox.common.secrets import SecretNotFound, SecretStore, secret_name
from signalbox.common.storage import DuplicateKey
from signalbox.contracts.background import WebhookTarget
from signalbox.contracts.identity import Principal, Scope, key_id_of
from signalbox.workflow.errors import IdempotencyKeyReused, UnknownTimezone, WebhookSecretMissing
from signalbox.workflow.idempotency_rows import KEPT_MS
from signalbox.workflow.ports import IdempotencyStore
from signalbox.workflow.records import IdempotencyKey, IdempotencyRecord

Stored = Callable[[IdempotencyRecord | None], Awaitable[None]]
"""Stores what a request makes, with the record of its key, in one transaction. Raises DuplicateKey for a used key."""


def user_meant(principal: Principal, user_id: str | None) -> str | None:
    """The user that a message is of: none, whatever it says, where the key may not act for users.

    What is stored is the user's when the user's data is exported or erased, so nobody may store it under any name.
    """
    return user_id if principal.may(Scope.ACT_FOR_USERS) else None


class Submitting:
    """Checks what is posted, and stores it once per Idempotency-Key."""

    def __init__(self, idempotency: IdempotencyStore, secrets: SecretStore) -> None:
        self._idempotency = idempotency
        self._secrets = secrets

    async def check_webhook(self, tenant: str, target: WebhookTarget | None) -> None:
        """Refuse a receiver whose messages could not be signed.

        Raises:
            WebhookSecretMissing: the tenant has no secret of that name.
        """
        if target is None:
            return
        try:
            await self._secrets.get(tenant, secret_name(target.secret))
        except SecretNotFound as error:
            raise WebhookSecretMissing(target.secret) from error

    async def once(
        self,
        principal: Principal,
        route: str,
        key: str | None,
        request: BaseModel,
        made: str,
        reply: BaseModel,
        now: int,
        store: Stored,
    ) -> str:
        """Store at ``now`` what a request makes, under the id ``made``; the reply as JSON, the first one's if repeated.

        Raises:
            IdempotencyKeyReused: the key came with another body.
        """
        if key is None:
            await store(None)
            return reply.model_dump_json()
        digest = hashlib.sha256(request.model_dump_json().encode()).hexdigest()
        name = IdempotencyKey(principal.tenant, principal.subject, route, key)
        while True:
            record = IdempotencyRecord(name, digest, made, reply.model_dump_json(), now)
            found = await self._idempotency.find(name, now - KEPT_MS)
            if found is None:
                try:
                    await store(record)
                except DuplicateKey:
                    # Another request with the key was stored meanwhile.
                    continue
                return reply.model_dump_json()
            if found.request_hash != digest:
                raise IdempotencyKeyReused
            if found.reply is not None:
                return found.reply


def stored_principal(principal: Principal) -> str | None:
    """Who asks, as rows keep it: nothing for the holder of a key, whose rights are those of the key when it is used."""
    return None if key_id_of(principal.subject) is not None else principal.model_dump_json()


def check_timezone(name: str | None) -> None:
    """Refuse a time zone that is none.

    Raises:
        UnknownTimezone: no IANA time zone of that name.
    """
    if name is None:
        return
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UnknownTimezone(name) from error
