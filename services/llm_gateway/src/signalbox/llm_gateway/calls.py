"""Model calls, from a request body to an answer: who may, what it may cost, and its row however it ends."""

import logging
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from opentelemetry import trace

from signalbox.common.errors import SignalboxError
from signalbox.common.ids import label_id, now_ms
from signalbox.common.telemetry import current_trace_id
from signalbox.contracts import headers as names
from signalbox.llm_gateway.accounting import CallAccount
from signalbox.llm_gateway.admission import Admission, Opening
from signalbox.llm_gateway.answers import StreamedAnswer, WholeAnswer
from signalbox.llm_gateway.call import Answering, Call, Caller
from signalbox.llm_gateway.errors import SAID_ONCE, ModelNotAllowed
from signalbox.llm_gateway.money import Prices, asked, worst_case
from signalbox.llm_gateway.ports import Ledger, Operation
from signalbox.llm_gateway.protocol import RequestBody
from signalbox.llm_gateway.records import Labels, storable
from signalbox.llm_gateway.routing import Plan, Planner

_LOG = logging.getLogger(__name__)


class ModelCalls:
    """Calls models for principals."""

    def __init__(
        self,
        planner: Planner,
        prices: Prices,
        admission: Admission,
        ledger: Ledger,
        tracer: trace.Tracer,
        answering: Answering,
    ) -> None:
        self._planner = planner
        self._prices = prices
        self._admission = admission
        self._ledger = ledger
        self._tracer = tracer
        self._answering = answering

    async def embed(self, body: RequestBody, caller: Caller) -> WholeAnswer:
        """An embeddings request, passed through.

        Raises as ``chat`` does.
        """
        # Only a chat is ever streamed.
        answer: Any = await self._answer(body, caller, "embeddings")
        whole: WholeAnswer = answer
        return whole

    def chat(self, body: RequestBody, caller: Caller) -> Coroutine[Any, Any, WholeAnswer | StreamedAnswer]:
        """A chat completion; streamed when the body says so.

        Raises:
            ModelNotAllowed, ModelNotFound, NotAChatModel: before anything is called; no row is written, and the log has
                the call's id, as of all that are refused.
            LedgerFull: rows wait for the database.
            LimitExceeded, BudgetExceeded, UnpricedModel, LimitsUnavailable: as ``Admission.admit`` says; no row.
            Whatever ``Answering.answer`` raises.
        """
        return self._answer(body, caller, "chat/completions")

    async def _answer(
        self, body: RequestBody, caller: Caller, operation: Operation
    ) -> WholeAnswer | StreamedAnswer:
        call_id = label_id("llm")
        try:
            _check_allowed(caller, body.model)
            await self._ledger.admit()
            plan = await self._planner.plan(body.model, operation)
            call = await self._admitted(call_id, body, caller, operation, plan)
        except SignalboxError as error:
            # There will be no row: what became of the call that the answer names is in the log.
            level = logging.DEBUG if isinstance(error, SAID_ONCE) else logging.INFO
            _LOG.log(level, "model call refused", extra={"call_id": call_id, "code": error.code})
            error.headers = {names.LEDGER_CALL_ID: call_id, **error.headers}
            raise
        try:
            return await self._answering.answer(call)
        except BaseException as error:
            call.account.failed(error)
            if isinstance(error, SignalboxError):
                error.headers = {**error.headers, **call.headers()}
            raise

    async def _admitted(
        self, call_id: str, body: RequestBody, caller: Caller, operation: Operation, plan: Plan
    ) -> Call:
        request = asked(
            body,
            answers=operation != "embeddings",
            default_output=caller.principal.default_max_output,
        )
        candidates = []
        for each in plan.deployments:
            terms = self._prices.known(each) or await self._prices.terms(each)
            candidates.append((each, terms))
        # By position, which takes a third of the time that names take.
        opening = Opening(
            call_id,
            caller.principal,
            _labels(caller, body),
            operation,
            body.model,
            worst_case(request, candidates),
            now_ms(),
            caller.deadline,
            caller.principal.priority,
            current_trace_id(),
        )
        ticket = await self._admission.admit(opening)
        account = CallAccount(self._ledger, self._tracer, opening, ticket, streamed=body.stream)
        return Call(body, caller, operation, plan, account, ticket, request, opening.worst)


def _labels(caller: Caller, body: RequestBody) -> Labels:
    """The caller's labels. Who may not speak for our users may still name its own, as OpenAI's API has it."""
    user = body.fields.get("user")
    if caller.labels.user_id is not None or not isinstance(user, str):
        return caller.labels
    return replace(caller.labels, user_id=storable(user) or None)


def _check_allowed(caller: Caller, model: str) -> None:
    if not caller.principal.may_call(model):
        raise ModelNotAllowed(
            f"Your key is not for the model '{model}'; GET /llm/v1/models lists those that it is for.",
            pointer="/model",
        )
