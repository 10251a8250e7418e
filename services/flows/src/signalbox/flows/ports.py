"""What the interpreter needs from outside."""

from typing import Protocol

from signalbox.contracts.work import ToolCallReply, ToolCallRequest
from signalbox.flows.book import FlowBook


class ToolCaller(Protocol):
    """Calls tools for the principal of the request; ``RemoteTools`` is the real one."""

    async def call(self, request: ToolCallRequest, *, write: bool) -> ToolCallReply:
        """One call; a failure is part of the reply."""
        ...


class FlowBooks(Protocol):
    """Compiled snapshots by hash."""

    async def get(self, tenant: str, config_hash: str) -> FlowBook:
        """The tenant's snapshot. Raises UnknownSnapshot."""
        ...
