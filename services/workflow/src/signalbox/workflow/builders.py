"""All that is built for a snapshot before it is published: each part by a builder of its own, side by side."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from signalbox.contracts.admin import BuildReply, BuildRequest


class SnapshotBuilder(Protocol):
    """Builds one part of what a snapshot needs."""

    async def build(self, request: BuildRequest) -> BuildReply:
        """Its artefacts and report; errors in the reply make the document unfit to publish."""
        ...


class Builders:
    """Several builders as one."""

    def __init__(self, builders: Sequence[SnapshotBuilder]) -> None:
        self._builders = list(builders)

    async def build(self, request: BuildRequest) -> BuildReply:
        """What all of them built, in their order."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(builder.build(request)) for builder in self._builders]
        replies = [task.result() for task in tasks]
        report = {name: value for reply in replies for name, value in reply.report.items()}
        return BuildReply(
            artefacts=[artefact for reply in replies for artefact in reply.artefacts],
            errors=[error for reply in replies for error in reply.errors],
            warnings=[warning for reply in replies for warning in reply.warnings],
            report=report,
        )
