"""``Idempotency-Key``: a call that is repeated under its key is made once, also concurrently and across replicas."""

from signalbox.llm_gateway.caching.idempotency.calls import IdempotentCalls, Repeatable
from signalbox.llm_gateway.caching.idempotency.keeper import IdempotencyKeeper
from signalbox.llm_gateway.caching.idempotency.repository import IdempotencyRepository

__all__ = ["IdempotencyKeeper", "IdempotencyRepository", "IdempotentCalls", "Repeatable"]
