"""Which model plays a role: the workflow's choice, else the operator's default."""

from signalbox.common.clients import DefaultRoles, GatewayClient
from signalbox.contracts.config import ModelRole
from signalbox.contracts.identity import Principal
from signalbox.contracts.workflow_config import WorkflowConfig

_KEPT_S = 30.0


class RoleModels:
    """The models of workflows; the gateway's defaults are remembered for half a minute."""

    def __init__(self, gateway: GatewayClient) -> None:
        self._defaults = DefaultRoles(gateway, _KEPT_S)

    async def model_for(self, config: WorkflowConfig, role: ModelRole, principal: Principal) -> str | None:
        """The model's name; None when neither the workflow nor the operator has one for the role.

        Raises:
            SignalboxError: the gateway could not be asked.
        """
        declared = config.llm.role(role)
        if declared is not None:
            return declared.model
        return (await self._defaults.of(principal)).get(role)
