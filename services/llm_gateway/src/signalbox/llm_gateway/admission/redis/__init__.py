"""Limits, budgets and open calls in Redis, shared by all replicas."""

from signalbox.llm_gateway.admission.redis.counters import RedisCounters

__all__ = ["RedisCounters"]
