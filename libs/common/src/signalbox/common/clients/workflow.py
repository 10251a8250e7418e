"""Client of the Workflow service's internal calls."""

from signalbox.common.clients.base import ServiceClient
from signalbox.contracts.admin import BuildReply, BuildRequest


class WorkflowClient(ServiceClient):
    """Builds snapshots."""

    service = "workflow"

    async def build(self, request: BuildRequest, timeout_s: float = 300.0) -> BuildReply:
        """Build what a snapshot needs; errors in the reply make it unfit to publish."""
        return await self._call(
            "POST",
            "/internal/v1/workflow/build",
            BuildReply,
            request,
            timeout_s=timeout_s,
            idempotency_key=request.config_hash,
        )
