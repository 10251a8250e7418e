"""A tracer for a process without exporters: it gives ids and keeps nothing.

The SDK's provider would do the same with ``ALWAYS_OFF``, for a tenth of a second at every start (it imports
psutil where that is installed) and for several times the work of a span.
"""

import random
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, cast

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Link, NonRecordingSpan, Span, SpanContext, SpanKind, TraceFlags
from opentelemetry.util._decorator import _agnosticcontextmanager
from opentelemetry.util.types import Attributes

from signalbox.common.context import current_request

if TYPE_CHECKING:
    from opentelemetry.util._decorator import _AgnosticContextManager

_NOT_SAMPLED = TraceFlags(TraceFlags.DEFAULT)


class UnrecordedTracer(trace.Tracer):
    """Spans that belong to their parent's trace, or begin a new one, and are not sampled."""

    def start_span(
        self,
        name: str,  # noqa: ARG002 - the API's signature
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,  # noqa: ARG002
        attributes: Attributes = None,  # noqa: ARG002
        links: Sequence[Link] | None = None,  # noqa: ARG002
        start_time: int | None = None,  # noqa: ARG002
        record_exception: bool = True,  # noqa: ARG002
        set_status_on_exception: bool = True,  # noqa: ARG002
    ) -> Span:
        """A span with an id of its own."""
        request = current_request()
        if request is not None and request.trace_id is not None:
            return _unsampled(int(request.trace_id, 16))
        parent = trace.get_current_span(context).get_span_context()
        return _unsampled(parent.trace_id, parent) if parent.is_valid else _unsampled(_random_id(128))

    def start_as_current_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,  # noqa: ARG002
        attributes: Attributes = None,  # noqa: ARG002
        links: Sequence[Link] | None = None,  # noqa: ARG002
        start_time: int | None = None,  # noqa: ARG002
        record_exception: bool = True,  # noqa: ARG002
        set_status_on_exception: bool = True,  # noqa: ARG002
        end_on_exit: bool = True,  # noqa: ARG002
    ) -> "_AgnosticContextManager[Span]":
        """The same, as the current span for a while; a request that knows its trace needs none."""
        request = current_request()
        if request is not None and request.trace_id is not None:
            # Whoever asks for the trace finds it in the request: nothing has to be made current, and undone.
            return cast("_AgnosticContextManager[Span]", nullcontext(INVALID_SPAN))
        return self._as_current(name, context)

    @_agnosticcontextmanager
    def _as_current(self, name: str, context: Context | None) -> Iterator[Span]:
        with trace.use_span(self.start_span(name, context)) as span:
            yield span


def _unsampled(trace_id: int, parent: SpanContext | None = None) -> Span:
    return NonRecordingSpan(
        SpanContext(
            trace_id,
            _random_id(64),
            is_remote=False,
            trace_flags=_NOT_SAMPLED,
            trace_state=None if parent is None else parent.trace_state,
        )
    )


def _random_id(bits: int) -> int:
    # Zero is the one id that is not valid.
    return random.getrandbits(bits) or 1
