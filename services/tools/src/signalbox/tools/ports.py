"""What the Tools service needs from outside: snapshots, and carrying out HTTP calls."""

from typing import Protocol

from signalbox.common.http_calls import CallResult, HttpCall, RenderedRequest
from signalbox.tools.registry import Registry


class Registries(Protocol):
    """Compiled snapshots by hash."""

    async def get(self, tenant: str, config_hash: str) -> Registry:
        """The tenant's snapshot. Raises UnknownSnapshot."""
        ...


class HttpCalls(Protocol):
    """Carries out HTTP calls; ``HttpCallExecutor`` is the real one."""

    async def execute(
        self, call: HttpCall, request: RenderedRequest, *, tenant: str, idempotency_key: str
    ) -> CallResult:
        """The value of the answer. Raises CallFailed."""
        ...
