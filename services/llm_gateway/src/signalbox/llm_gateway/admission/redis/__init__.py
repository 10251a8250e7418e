"""Limits, budgets and open calls in Redis, shared by all replicas."""

from signalbox.llm_gateway.admission.redis.counters import RedisCounters
from signalbox.llm_gateway.admission.redis.keeper import Keeper

__all__ = ["Keeper", "RedisCounters"]
