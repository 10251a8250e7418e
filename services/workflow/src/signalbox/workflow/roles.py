"""Which model plays a role: the workflow's choice, else the operator's default."""

import time

from signalbox.common.clients import GatewayClient
from signalbox.contracts.config import ModelRole
from signalbox.contracts.identity import Principal
from signalbox.contracts.workflow_config import WorkflowConfig

_KEPT_S = 30.0


class RoleModels:
    """The gateway's default models by role, remembered for half a minute."""

    def __init__(self, gateway: GatewayClient) -> None:
        self._gateway = gateway
        self._defaults: dict[str, str] = {}
        self._fetched_at = float("-inf")

    async def model_for(self, config: WorkflowConfig, role: ModelRole, principal: Principal) -> str | None:
        """The model's name; None when neither the workflow nor the operator has one for the role.

        Raises:
            SignalboxError: the gateway could not be asked.
        """
        declared = config.llm.role(role)
        if declared is not None:
            return declared.model
        if time.monotonic() - self._fetched_at > _KEPT_S:
            self._defaults = (await self._gateway.models(principal)).roles
            self._fetched_at = time.monotonic()
        return self._defaults.get(role)
