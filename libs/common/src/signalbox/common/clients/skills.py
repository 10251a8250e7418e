"""Client of the Skills service."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from signalbox.common.clients.frames import frames
from signalbox.common.clients.keeping import KeepingClient
from signalbox.contracts.identity import Principal
from signalbox.contracts.work import Frame, SkillRunRequest


class SkillsClient(KeepingClient):
    """Runs skills."""

    service = "skills"

    async def run(self, request: SkillRunRequest, principal: Principal) -> AsyncGenerator[Frame, None]:
        """Run a skill; yields events as they happen, then the result or an error."""
        body = request.model_dump_json().encode()
        async with (
            self._open(
                "POST", "/internal/v1/skills/run", body, principal=principal, idempotency_key=request.run_id
            ) as stream,
            aclosing(frames(self.service, stream)) as received,
        ):
            async for frame in received:
                yield frame
