"""What services are asked that keep something of sessions: to show it, and to forget it."""

from signalbox.common.clients.base import ServiceClient
from signalbox.contracts.identity import Principal
from signalbox.contracts.keeping import Forgotten, KeptData, KeptDataRequest, OfSessions

_FORGET_S = 30.0
_REPEATABLE = "keeping"
"""Forgetting and showing may be repeated at will: with a key, a connection that broke is tried again."""


class KeepingClient(ServiceClient):
    """A client of a service that keeps something of sessions."""

    async def forget(self, what: OfSessions, principal: Principal) -> Forgotten:
        """Remove what the service keeps of sessions: Skills' runs, who it was in the ledger; may be repeated."""
        return await self._call(
            "POST",
            f"/internal/v1/{self.service}/forget",
            Forgotten,
            what,
            principal=principal,
            timeout_s=_FORGET_S,
            idempotency_key=_REPEATABLE,
        )

    async def kept(self, request: KeptDataRequest, principal: Principal) -> KeptData:
        """What the service keeps of sessions or of a user, a page of it."""
        return await self._call(
            "POST",
            f"/internal/v1/{self.service}/kept",
            KeptData,
            request,
            principal=principal,
            timeout_s=_FORGET_S,
            idempotency_key=_REPEATABLE,
        )
