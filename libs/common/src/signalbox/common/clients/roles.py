"""The operator's default model of each role, as the gateway tells it."""

import time

from signalbox.common.clients.gateway import GatewayClient
from signalbox.contracts.identity import Principal


class DefaultRoles:
    """The gateway's default models, remembered for a while per tenant."""

    def __init__(self, gateway: GatewayClient, seconds: float) -> None:
        self._gateway = gateway
        self._seconds = seconds
        self._known: dict[str, tuple[float, dict[str, str]]] = {}

    async def of(self, principal: Principal) -> dict[str, str]:
        """Model by role."""
        known = self._known.get(principal.tenant)
        if known is None or known[0] <= time.monotonic():
            roles = (await self._gateway.models(principal)).roles
            known = self._known[principal.tenant] = (time.monotonic() + self._seconds, roles)
        return known[1]
