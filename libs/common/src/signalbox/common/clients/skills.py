"""Client of the Skills service."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from signalbox.common.clients.base import ServiceClient
from signalbox.common.clients.frames import frames
from signalbox.contracts.identity import Principal
from signalbox.contracts.keeping import Forgotten, KeptData, KeptDataRequest, OfSessions
from signalbox.contracts.work import Frame, SkillRunRequest

_FORGET_S = 30.0
_REPEATABLE = "keeping"
"""Forgetting and showing may be repeated at will: with a key, a connection that broke is tried again."""


class SkillsClient(ServiceClient):
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

    async def forget(self, what: OfSessions, principal: Principal) -> Forgotten:
        """Remove the runs of sessions; may be repeated."""
        return await self._call(
            "POST",
            "/internal/v1/skills/forget",
            Forgotten,
            what,
            principal=principal,
            timeout_s=_FORGET_S,
            idempotency_key=_REPEATABLE,
        )

    async def kept(self, request: KeptDataRequest, principal: Principal) -> KeptData:
        """The runs of sessions with what they did, a page of them."""
        return await self._call(
            "POST",
            "/internal/v1/skills/kept",
            KeptData,
            request,
            principal=principal,
            timeout_s=_FORGET_S,
            idempotency_key=_REPEATABLE,
        )
