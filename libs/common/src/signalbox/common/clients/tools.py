"""Client of the Tools service."""

from signalbox.common.clients.base import ServiceClient
from signalbox.contracts.identity import Principal
from signalbox.contracts.work import ToolCallReply, ToolCallRequest


class ToolsClient(ServiceClient):
    """Calls tools."""

    service = "tools"

    async def call(self, request: ToolCallRequest, principal: Principal) -> ToolCallReply:
        """Call one tool. A tool that failed is a reply with ``ok`` false, not an error."""
        return await self._call(
            "POST",
            "/internal/v1/tools/call",
            ToolCallReply,
            request,
            principal=principal,
            idempotency_key=request.idempotency_key,
        )
