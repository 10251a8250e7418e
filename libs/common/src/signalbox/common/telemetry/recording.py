"""Spans that are recorded and exported, with OpenTelemetry's SDK."""

from collections.abc import Sequence
from pathlib import Path

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased


class FileSpanExporter(SpanExporter):
    """Appends finished spans to a file, one JSON object a line: enough to read a trace without a backend."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Write the spans and flush."""
        for span in spans:
            self._file.write(span.to_json(indent=None) + "\n")
        self._file.flush()
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Close the file."""
        self._file.close()


class Recording:
    """The tracer providers of one process, one per service, with shared exporters."""

    def __init__(self, exporters: Sequence[SpanExporter]) -> None:
        self._processors = [BatchSpanProcessor(exporter, schedule_delay_millis=500) for exporter in exporters]
        self._providers: dict[str, TracerProvider] = {}

    def tracer(self, service: str) -> trace.Tracer:
        """The tracer of a service, whose spans carry its name."""
        provider = self._providers.get(service)
        if provider is None:
            provider = TracerProvider(
                resource=Resource({"service.name": f"signalbox-{service}"}),
                sampler=ParentBased(ALWAYS_ON),
                shutdown_on_exit=False,
            )
            for processor in self._processors:
                provider.add_span_processor(processor)
            self._providers[service] = provider
        return provider.get_tracer("signalbox")

    def close(self) -> None:
        """Send what is still buffered."""
        for processor in self._processors:
            processor.shutdown()  # type: ignore[no-untyped-call]  # the SDK leaves it unannotated
