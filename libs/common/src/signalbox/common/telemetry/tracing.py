"""OpenTelemetry tracing without global state: the process owns a ``Tracing`` and hands it to its services.

Without an exporter no span is recorded, but every request still has a trace id, which is passed on in
``traceparent`` (W3C Trace Context), logged, and stored with the turn.
"""

from collections.abc import Mapping, MutableMapping, Sequence
from random import getrandbits
from typing import TYPE_CHECKING, Self

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import format_trace_id
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from signalbox.common.context import current_request
from signalbox.common.settings import CommonSettings
from signalbox.common.telemetry.unrecorded import UnrecordedTracer
from signalbox.contracts import headers as names

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

    from signalbox.common.telemetry.recording import Recording

_PROPAGATOR = TraceContextTextMapPropagator()


class Tracing:
    """The tracers of one process, one per service, with shared exporters."""

    def __init__(self, exporters: Sequence["SpanExporter"] = ()) -> None:
        self._recording: Recording | None = None
        if exporters:
            # The SDK is loaded only where there is something to record for.
            from signalbox.common.telemetry import recording  # noqa: PLC0415

            self._recording = recording.Recording(exporters)

    @classmethod
    def from_settings(cls, settings: CommonSettings) -> Self:
        """Exporters as the settings name them."""
        exporters: list[SpanExporter] = []
        if settings.otlp_endpoint:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - 0.3 s, only if used
                OTLPSpanExporter,
            )

            endpoint = settings.otlp_endpoint.rstrip("/") + "/v1/traces"
            exporters.append(OTLPSpanExporter(endpoint=endpoint))
        if settings.trace_file:
            from signalbox.common.telemetry.recording import FileSpanExporter  # noqa: PLC0415

            exporters.append(FileSpanExporter(settings.trace_file))
        return cls(exporters)

    def tracer(self, service: str) -> trace.Tracer:
        """The tracer of a service, whose spans carry its name."""
        return UnrecordedTracer() if self._recording is None else self._recording.tracer(service)

    def close(self) -> None:
        """Send what is still buffered."""
        if self._recording is not None:
            self._recording.close()


def extract_context(headers: Mapping[str, str]) -> Context:
    """The trace context that a request carries (lower-case header names)."""
    return _PROPAGATOR.extract(headers)


def inject_traceparent(headers: MutableMapping[str, str], span: trace.Span) -> None:
    """Add ``traceparent`` of a span to outgoing headers."""
    _PROPAGATOR.inject(headers, context=trace.set_span_in_context(span))


def records(tracer: trace.Tracer) -> bool:
    """Whether anybody keeps what the tracer's spans say."""
    return not isinstance(tracer, UnrecordedTracer)


def unrecorded_trace_id(headers: Mapping[str, str]) -> str:
    """The id of the trace that a request carries, or of a new one, where no span is made for the request."""
    if names.TRACEPARENT in headers:
        carried = trace.get_current_span(extract_context(headers)).get_span_context()
        if carried.is_valid:
            return format_trace_id(carried.trace_id)
    # As OpenTelemetry's own generator makes them; the lowest bit keeps it from being the invalid one.
    return f"{getrandbits(128) | 1:032x}"


def current_trace_id() -> str | None:
    """The trace id in hex, or None outside of a trace."""
    request = current_request()
    if request is not None and request.trace_id is not None:
        return request.trace_id
    context = trace.get_current_span().get_span_context()
    return format_trace_id(context.trace_id) if context.is_valid else None
