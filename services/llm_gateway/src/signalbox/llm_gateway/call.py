"""One model call on its way, and the steps that it goes through."""

from typing import Protocol

from signalbox.common.context import Deadline
from signalbox.common.record import record
from signalbox.contracts import headers as names
from signalbox.contracts.identity import Principal, Scope
from signalbox.llm_gateway.accounting import CallAccount
from signalbox.llm_gateway.admission import Ticket
from signalbox.llm_gateway.answers import StreamedAnswer, WholeAnswer
from signalbox.llm_gateway.caching.wishes import NO_WISHES, CacheWishes
from signalbox.llm_gateway.deployments import Deployment
from signalbox.llm_gateway.money import UNCAPPED_OUTPUT, Asked, WorstCase
from signalbox.llm_gateway.ports import Operation, UpstreamRequest
from signalbox.llm_gateway.protocol import RequestBody
from signalbox.llm_gateway.records import Labels
from signalbox.llm_gateway.routing.plan import Plan


@record
class Caller:
    """Who calls, why, and until when (None: as long as the deployment allows)."""

    principal: Principal
    labels: Labels
    deadline: Deadline | None = None
    wishes: CacheWishes = NO_WISHES

    @property
    def is_service(self) -> bool:
        """Whether this is a service of ours, acting for the principal."""
        return self.principal.may(Scope.SERVICE)


@record
class Call:
    """One admitted call: what is asked, by whom, who may answer it, and the books that are kept of it."""

    body: RequestBody
    caller: Caller
    operation: Operation
    plan: Plan
    account: CallAccount
    ticket: Ticket
    asked: Asked
    """How large it is: what an attempt at one of its deployments costs at most is ``worst_case`` of this."""
    worst: WorstCase
    """Of an attempt at the dearest of its deployments."""

    @property
    def output_cap(self) -> int | None:
        """The cap that is sent to a provider where the request has none: the key's, else what a hard budget needs."""
        if not self.asked.answers:
            return None
        assumed = UNCAPPED_OUTPUT if self.worst.assumed and self.ticket.holds_to_worst else None
        return self.caller.principal.default_max_output or assumed

    def upstream_request(self, deployment: Deployment, body: bytes) -> UpstreamRequest:
        """An attempt at ``deployment``, within the time that the caller has left.

        Raises:
            DeadlineExceeded: none is left.
        """
        timeout = deployment.timeout_s
        if self.caller.deadline is not None:
            timeout = min(timeout, self.caller.deadline.check("a model call"))
        return UpstreamRequest(deployment, self.operation, body, timeout)

    def headers(self, cost: str | None = None) -> dict[str, str]:
        """Response headers."""
        headers = {names.LEDGER_CALL_ID: self.account.call_id, **self.ticket.headers}
        if cost is not None:
            headers[names.LEDGER_COST] = cost
        if self.account.emulated is not None:
            headers[names.LLM_EMULATED] = self.account.emulated
        return headers


class Answering(Protocol):
    """A step that answers an admitted call, itself or by the next one."""

    async def answer(self, call: Call) -> WholeAnswer | StreamedAnswer:
        """The answer. What it costs is in the call's account, which is finished when the answer is whole.

        Raises:
            ProviderRefused, ProviderUnreachable, ProviderTimeout, ProviderBroke, BadDeployment: the provider's side;
                of several attempts, that of the model which was asked for.
            AllCoolingDown: nobody was asked, as all providers have asked to be left alone.
            LimitExceeded, BudgetExceeded: no attempt may be made, as ``Ticket.attempt`` says.
            AnswerInvalid: a model without tools or JSON mode failed twice.
            DeadlineExceeded: no time was left for the call.
        """
        ...
