"""What operators see of calls: metrics, spans, and, where that is switched on, what was said."""

from signalbox.llm_gateway.telemetry.content import Content
from signalbox.llm_gateway.telemetry.conventions import attributes_of_answer, attributes_of_request
from signalbox.llm_gateway.telemetry.metrics import CallMetrics
from signalbox.llm_gateway.telemetry.names import Names
from signalbox.llm_gateway.telemetry.observed import ObservedAdmission
from signalbox.llm_gateway.telemetry.redaction import redacted

__all__ = [
    "CallMetrics",
    "Content",
    "Names",
    "ObservedAdmission",
    "attributes_of_answer",
    "attributes_of_request",
    "redacted",
]
