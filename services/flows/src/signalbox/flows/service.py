"""One flow call: the snapshot found, the flow run, its result told as frames."""

from collections.abc import Callable

from opentelemetry import trace
from opentelemetry.trace import Status, StatusCode

from signalbox.common.web import Emit, Work
from signalbox.contracts.context import CallContext
from signalbox.contracts.identity import Principal
from signalbox.contracts.work import FlowReading, FlowReadRequest, FlowResultFrame, FlowRunRequest, Frame
from signalbox.flows.book import FlowBook
from signalbox.flows.interpreter import read_flow, run_flow
from signalbox.flows.ports import FlowBooks, ToolCaller


class FlowRuns:
    """Runs the flows of snapshots."""

    def __init__(
        self,
        books: FlowBooks,
        tools_for: Callable[[Principal], ToolCaller],
        tracer: trace.Tracer,
        max_steps: int,
    ) -> None:
        self._books = books
        self._tools_for = tools_for
        self._tracer = tracer
        self._max_steps = max_steps

    async def prepare(self, request: FlowRunRequest, principal: Principal) -> Work:
        """The work of a call, once it is certain that it can begin.

        Raises:
            UnknownSnapshot: the tenant has no snapshot of this hash.
            UnknownFlow: the snapshot has no such flow.
        """
        book = await self._book(request.context)
        flow_id = request.state.flow if request.state is not None else request.flow
        book.flow(flow_id)

        async def work(emit: Emit) -> Frame:
            with self._tracer.start_as_current_span(f"flow {flow_id}") as span:
                tools = self._tools_for(principal)
                result = await run_flow(book, request, tools, emit, max_steps=self._max_steps)
                span.set_attribute("signalbox.flow.status", result.status)
                if result.status == "failed":
                    span.set_status(Status(StatusCode.ERROR, result.reason))
            return FlowResultFrame(result=result)

        return work

    async def read(self, request: FlowReadRequest, principal: Principal) -> FlowReading:
        """What a message is to an open flow.

        Raises:
            UnknownSnapshot: the tenant has no snapshot of this hash.
            UnknownFlow: the snapshot has no such flow.
            FlowStateInvalid: the state does not fit it.
        """
        book = await self._book(request.context)
        return read_flow(book, request, self._tools_for(principal))

    async def _book(self, context: CallContext) -> FlowBook:
        return await self._books.get(context.tenant, context.config_hash)
