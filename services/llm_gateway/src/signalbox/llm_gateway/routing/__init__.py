"""Which deployments a call may use, and how attempts at them become one answer."""

from signalbox.llm_gateway.routing.plan import Plan

__all__ = ["Plan"]
