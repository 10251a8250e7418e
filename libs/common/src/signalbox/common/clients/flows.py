"""Client of the Flows service."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from signalbox.common.clients.base import ServiceClient
from signalbox.common.clients.frames import frames
from signalbox.contracts.identity import Principal
from signalbox.contracts.work import FlowReading, FlowReadRequest, FlowRunRequest, Frame


class FlowsClient(ServiceClient):
    """Runs flows, and reads what messages are to open ones."""

    service = "flows"

    async def read(self, request: FlowReadRequest, principal: Principal) -> FlowReading:
        """What a message is to an open flow; nothing is done."""
        return await self._call(
            "POST",
            "/internal/v1/flows/read",
            FlowReading,
            request,
            principal=principal,
            idempotency_key=f"{request.context.turn_id}/read",
        )

    async def run(self, request: FlowRunRequest, principal: Principal) -> AsyncGenerator[Frame, None]:
        """Start a flow or go on with one; yields events as they happen, then the result or an error."""
        body = request.model_dump_json().encode()
        async with (
            self._open(
                "POST",
                "/internal/v1/flows/run",
                body,
                principal=principal,
                idempotency_key=f"{request.context.turn_id}/flow",
            ) as stream,
            aclosing(frames(self.service, stream)) as received,
        ):
            async for frame in received:
                yield frame
