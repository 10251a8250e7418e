"""Traces, logs and metrics."""

from signalbox.common.telemetry.logs import configure_logging
from signalbox.common.telemetry.metrics import Metrics, render_metrics
from signalbox.common.telemetry.tracing import Tracing, current_trace_id, inject_traceparent

__all__ = [
    "Metrics",
    "Tracing",
    "configure_logging",
    "current_trace_id",
    "inject_traceparent",
    "render_metrics",
]
